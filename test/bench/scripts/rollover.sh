#!/usr/bin/env bash
# What a script in the initrd does today, written anew: archive the root by its date, delete what is older than thirty days, make a new one.
# Arguments: the device, a directory to mount it at.
set -e
device=$1 top=$2
mount -o subvolid=5 "$device" "$top"
mkdir -p "$top/old_roots"
mv "$top/root" "$top/old_roots/$(date --date="@$(stat --format=%Y "$top/root")" +%Y-%m-%d_%H:%M:%S)"

delete_recursively() {
	local path
	while IFS= read -r path; do
		delete_recursively "$top/$path"
	done < <(btrfs subvolume list -o "$1" | cut --fields=9- --delimiter=' ')
	btrfs subvolume delete "$1"
}

while IFS= read -r path; do
	delete_recursively "$path"
done < <(find "$top/old_roots" -mindepth 1 -maxdepth 1 -mtime +30)
btrfs subvolume create "$top/root"
umount "$top"
