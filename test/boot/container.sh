#!/usr/bin/env bash
# One boot of a machine in a container, from its initrd to power-off. Prints when it begins.
# Arguments: directory with the initrd, device of the disk, the machine's name for it, file with the kernel command line, archive with the
# checks, file for what they print, options for PID 1
set -euo pipefail
initrd=$1 device=$2 name=$3 cmdline=$4 checks=$5 result=$6
shift 6

# nspawn wants the one hierarchy of cgroup2 there.
umount --recursive /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup /sys/fs/cgroup

# The switch of the root deletes the initrd.
mount -t tmpfs tmpfs /mnt
cp --archive "$initrd/." /mnt
# What is mounted in /proc is looked for in the container.
cp "$cmdline" /mnt/cmdline

echo "started $EPOCHREALTIME"
exec systemd-nspawn --quiet --boot --directory=/mnt --capability=all --register=no --keep-unit --private-network --console=read-only \
	--setenv=SYSTEMD_COLORS=0 --bind="$device:$name" --bind-ro=/cmdline:/proc/cmdline \
	--bind="$checks:/dev/disk/by-id/virtio-checks" --bind="$result:/dev/virtio-ports/result" -- "$@"
