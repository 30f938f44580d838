#!/usr/bin/env bash
# The first boot of an impermanent machine: everything runs, and what the next boots look for is left.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root is fresh' says 'fresh root, a copy of root-template' impermanence status
check 'and not at its first boot' show ConditionResult ConditionResult=no systemd-update-done.service
check 'nothing is wrong' not says wrong impermanence status
check 'the former root is listed' says "$(date --utc +%Y)" impermanence roots
check 'busctl lists it' says '/org/impermanence1/root/' manager ListRoots 'a{sv}t' 0 0
check 'the persistent volume was mounted by the initrd' says subvol=/persist findmnt --noheadings --output OPTIONS /persist
check 'once' test "$(findmnt --noheadings --output TARGET --mountpoint /persist | wc -l)" = 1
check 'and fstab of the root is content' show SubState SubState=mounted persist.mount
if command -v dracut >/dev/null; then
	check 'it stays until the end' not show Conflicts umount.target persist.mount
fi
check 'what was put in place stays until the end' not show Conflicts umount.target var-log.mount
check 'the timer of prune waits' show ActiveState ActiveState=active impermanence-prune.timer
check 'the initrd has put all in place' show ConditionResult ConditionResult=no impermanence-persist.service
check 'which is true of the boot alone' test ! -e /run/impermanence/in-place
check 'the top level stayed mounted from the initrd on' show ConditionResult ConditionResult=no impermanence-top.service
check 'the initrd reads its units once' read_once
quiet
timing

touch /opt/stray /srv/data/kept
check 'keys of the SSH server are made' ssh-keygen -A
check 'a password is changed' chpasswd <<<'root:changed'
cp /etc/machine-id /srv/data/machine-id
cp /etc/ssh/ssh_host_ed25519_key /srv/data/key
check 'a package is installed into the template' impermanence template run -- apt-get install --yes /var/cache/probe.deb
check 'and not into the root that runs' not test -e /usr/share/probe/installed

# The story of somebody who installs a program, sees what it wrote, and keeps it.
mkdir -p /var/lib/probe
echo state >/var/lib/probe/state
check 'what it wrote would be lost' says '/var/lib/probe' impermanence diff /var/lib
check 'until it is kept' says 'in-place	/var/lib/probe' impermanence persist /var/lib/probe
check 'and then it would not' not says '/var/lib/probe' impermanence diff /var/lib
