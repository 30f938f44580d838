#!/usr/bin/env bash
# One boot of a machine, from the initrd's work to power-off, in a container with a real systemd.
# Arguments: directory of the binaries, device, configuration, directory to mount the root at, the directory that is /run/impermanence, boot id,
# and, if there is one, the device of another file system, which is /data.
set -euo pipefail
bin=$1 device=$2 config=$3 root=$4 run=$5 id=$6 data=${7:-}

# shellcheck source=/dev/null
. "$(dirname "$0")/contain.sh"

mount --bind "$id" /proc/sys/kernel/random/boot_id
"$bin/impermanence-initrd" rollover --config="$config" --cmdline="root=$device rootflags=subvol=root" --run-dir="$run"
mount -o subvol=root "$device" "$root"
mkdir -p "$root/persist"
mount -o subvol=persist "$device" "$root/persist"
"$bin/impermanence-initrd" persist --config="$config" --sysroot="$root" --cmdline=quiet --run-dir="$run"
if [[ $data ]]; then
	mkdir "$root/data"
	mount -o subvol=root "$data" "$root/data"
fi

contain --directory="$root" --bind="$run:/run/impermanence" --bind="$device" ${data:+--bind="$data"} --console=pipe
