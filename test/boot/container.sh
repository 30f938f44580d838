#!/usr/bin/env bash
# One boot of a machine in a container, from its initrd to power-off. Prints when it begins.
# Arguments: directory with the initrd, device of the disk, the machine's name for it, file with the kernel command line, archive with the
# checks, file for what they print, options for PID 1
set -euo pipefail
initrd=$1 device=$2 name=$3 cmdline=$4 checks=$5 result=$6
shift 6

# shellcheck source=/dev/null
. ../machine/contain.sh

# The switch of the root deletes the initrd.
mount -t tmpfs tmpfs /mnt
cp --archive "$initrd/." /mnt
# What is mounted in /proc is looked for in the container.
cp "$cmdline" /mnt/cmdline

echo "started $EPOCHREALTIME"
contain --directory=/mnt --console=read-only --setenv=SYSTEMD_COLORS=0 --bind="$device:$name" --bind-ro=/cmdline:/proc/cmdline \
	--bind="$checks:/dev/disk/by-id/virtio-checks" --bind="$result:/dev/virtio-ports/result" -- "$@"
