#!/usr/bin/env bash
# What a module's activation scripts do today for each directory, written anew: make the source, make the target, copy owner and mode, bind.
# Arguments: the persistent volume, the root, the directories.
set -e
volume=$1 root=$2
shift 2
for directory; do
	source=$volume$directory target=$root$directory
	[[ -d $source ]] || mkdir -p "$source"
	[[ -d $target ]] || mkdir -p "$target"
	chown --reference="$source" "$target"
	chmod --reference="$source" "$target"
	mountpoint --quiet "$target" || mount -o bind,x-gvfs-hide "$source" "$target"
done
