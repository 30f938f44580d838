#!/usr/bin/env bash
# One boot of a machine in a container, from its initrd to power-off. Prints when it begins.
# Arguments: directory with the initrd, device of the disk, the machine's name for it, archive with the checks, file for what they print
set -euo pipefail
initrd=$1 device=$2 name=$3 checks=$4 result=$5

# nspawn wants the one hierarchy of cgroup2 there.
umount --recursive /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup /sys/fs/cgroup

# The switch of the root deletes the initrd.
mount -t tmpfs tmpfs /mnt
cp --archive "$initrd/." /mnt

echo "started $EPOCHREALTIME"
exec systemd-nspawn --quiet --boot --directory=/mnt --capability=all --register=no --keep-unit --private-network --console=pipe \
	--bind="$device:$name" --bind="$checks:/dev/disk/by-id/virtio-checks" --bind="$result:/dev/virtio-ports/result" -- systemd.show_status=no
