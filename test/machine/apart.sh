#!/usr/bin/env bash
# A boot with an ephemeral mount point on a disk of its own, whose subvolumes have the same ids as those of the root's.
# shellcheck disable=SC1091 # it is there in the machine
. /persist/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the other mount point is fresh as well' not test -e /data/file
other=$((1 << 48 | 256)) # the first subvolume of the second file system
check 'its old root is listed, by a service that sees no devices' says "/org/impermanence1/root/$other" manager ListRoots 'a{sv}t' 0 0
check 'and that of the root' says '/org/impermanence1/root/256' manager ListRoots 'a{sv}t' 0 0
check 'its top level is mounted for it' says /run/impermanence/tops/ findmnt --noheadings --output TARGET --types btrfs
check 'status finds nothing wrong' well
check 'it is pinned' impermanence pin "$other"
check 'where it is, and not where the id is the same' says pinned getfattr --dump --match=trusted.impermanence /run/impermanence/tops/*/old_roots/*
check 'pruning is planned for both' impermanence prune --dry-run
check 'what it had is restored' impermanence restore "$other" /data/file
check 'as the machine sees it' grep -q data /data/file
check 'it is unpinned' impermanence unpin "$other"
looked=$(impermanence browse "$other")
check 'and looked at' grep -q data "$looked/file"
top=$(findmnt --noheadings --list --output TARGET --types btrfs | grep /run/impermanence/tops/)
check 'what the daemon has open is unmounted after it' show Before impermanenced.service "$(systemd-escape --path --suffix=mount "$top")"

check 'it is looked at no more' impermanence browse --unmount "$other"
check 'and nothing is in use' not says in-use impermanence prune --dry-run --keep-last 1
old=$(old_roots)
mkfifo /run/mounted /run/held
# shellcheck disable=SC2016 # it is the inner shell's
unshare --mount --propagation=private sh -c 'mount -t btrfs -o "subvol=/$1" "$2" /mnt && echo >/run/mounted && exec cat /run/held' sh "old_roots/${old##*/}" \
	"$(findmnt --noheadings --nofsroot --output SOURCE /)" &
check 'a container has mounted an old root' timeout 20 cat /run/mounted
check 'which nobody can tell the service, but it looks again when asked' manager Rescan t 0
check 'what a container alone has mounted is in use, to a service that may look into no process' says in-use impermanence prune --dry-run --keep-last 1
echo >/run/held
