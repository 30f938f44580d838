#!/usr/bin/env bash
# What a script does today to old roots of more than thirty days, written anew. Argument: where the top level is mounted.
set -e
top=$1

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
