#!/usr/bin/env bash
# A boot with a fresh root, whatever the disk is like.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root is fresh' says 'fresh root, a copy of root-template' impermanence status
check 'nothing is wrong' not says wrong impermanence status
check 'nothing is told at login' empty /run/motd.d/impermanence.motd
check 'a stray file is gone' not test -e /opt/former
check 'and in the old root' says /opt/former find /run/impermanence/top/old_roots -name former
check 'there is one old root' test "$(old_roots | wc -l)" = 1
check 'the persistent volume was mounted by the initrd' says subvol=/persist findmnt --noheadings --output OPTIONS /persist
check 'once' test "$(findmnt --noheadings --output TARGET --mountpoint /persist | wc -l)" = 1
check 'and fstab of the root is content' show SubState SubState=mounted persist.mount
if command -v dracut >/dev/null; then
	check 'it stays until the end' not show Conflicts umount.target persist.mount
fi
check 'what was put in place stays until the end' not show Conflicts umount.target var-log.mount
check 'entries are in place' findmnt --mountpoint /srv/data
check 'reading writes nothing to the root' says noatime findmnt --noheadings --output OPTIONS /
check 'the initrd reads its units once' read_once
quiet
timing
