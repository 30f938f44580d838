#!/usr/bin/env bash
# A machine that hibernates, and what it finds when it is on again: that this script goes on.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
systemctl is-system-running --wait >/dev/null
check 'there is a place to hibernate to' swapon /dev/disk/by-id/virtio-swap
touch /opt/before
before=$(btrfs subvolume show / | grep 'Subvolume ID')
check 'hibernation is asked for' systemctl hibernate --check-inhibitors=no
grep --quiet --max-count=1 'hibernation exit' < <(dmesg --follow)
echo 'ok the machine is on again'
check 'what was open is still there' test -e /opt/before
check 'the root is the same' test "$(btrfs subvolume show / | grep 'Subvolume ID')" = "$before"
check 'it was not rolled over meanwhile' test "$(old_roots | wc -l)" = 1
check 'the journal has no error of the file system' not says 'BTRFS error' dmesg
