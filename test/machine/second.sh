#!/usr/bin/env bash
# The second boot: what stayed, what went, and pruning by the timer's service.
# shellcheck disable=SC1091 # it is there in the machine
. /persist/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'a stray file is gone' not test -e /opt/stray
check 'and in the old root' says /opt/stray find /run/impermanence/top/old_roots -name stray
check 'the machine id stays' grep -q 4c0ffee0d15c4cafa0ddba11deadbeef /etc/machine-id
check 'the journal of the boot before stays' says '-- Boot' journalctl --directory=/var/log/journal --unit=check.service
check 'a file replaced by rename was copied back at shutdown' grep -q replaced /etc/replaced
check 'data of an entry added while running stays on its volume' grep -q first /persist/srv/data/boot

check 'what was kept while running is in its place' grep -q run /srv/run/file
check 'what was written until the end was taken from the former root' grep -q 'written later' /srv/busy/file
check 'which is mounted' findmnt /srv/busy
check 'what was forgotten is gone' not test -e /srv/gone/file
check 'and still on its volume' test -e /persist/srv/gone/file
check 'what was changed of the template stays changed' grep -q changed /etc/issue
check 'and is no conflict with it' well
check 'a copy that nobody watched is there' grep -q unwatched /etc/added
check 'and one that was the first' grep -q 'again live' /etc/again

echo lost >/opt/lost
check 'what the next boot will lose is found, from the sandbox' says 'added	/opt/lost' impermanence diff /opt
check 'what is kept is not among it' not says /srv/run impermanence diff --all /srv
check 'nobody may not see its names' not nobody impermanence diff

looked=$(impermanence browse newest)
check 'it can be looked at, through PID 1' test -e "$looked/opt/stray"
check 'read-only' not touch "$looked/opt/other"
check 'and is not deleted meanwhile' says in-use impermanence roots
check 'until it is unmounted' impermanence browse --unmount newest
check 'and then it is gone' not findmnt "$looked"
check 'and log finds the file in it' says 'absent' impermanence log /opt/stray
check 'restore brings it back, through PID 1' impermanence restore newest /opt/stray
check 'as the machine sees it' test -e /opt/stray
check 'and again, with nothing to do' impermanence restore newest /opt/stray
check 'nobody may not' not nobody impermanence restore newest /opt/stray
mkdir -p /etc/polkit-1/rules.d
echo 'polkit.addRule(function(action, subject) { if (action.id == "org.impermanence1.read-losses") return polkit.Result.YES; });' >/etc/polkit-1/rules.d/10-test.rules
chmod 755 /etc/polkit-1/rules.d
systemctl restart polkit.service
check 'whom a rule allows to reads a large result, as who he is' says file nobody impermanence log /opt/stray
check 'and what only root may enter stays so' not nobody ls /run/impermanence/roots

# The oldest, not the former root: the newest is kept whatever its date says.
expired=$(old_roots | sort | head -n 1)
check 'an old root has a subvolume inside' btrfs subvolume create "$expired/web"
setfattr --name=trusted.impermanence.rolled_over --value="$(date --utc --date='31 days ago' +%Y-%m-%dT%H:%M:%S.000000Z)" "$expired"
check 'an old root of 31 days is planned to go' says "delete	${expired##*/}" impermanence prune --dry-run
check 'the timer waits' show ActiveState ActiveState=active impermanence-prune.timer
check 'its service prunes and waits' systemctl start impermanence-prune.service
check 'and it is gone' not test -e "$expired"
check 'a younger one is kept' says old impermanence roots
check 'persist is untouched' grep -q first /persist/srv/data/boot
touch /opt/kept
check 'the next boot can be asked to keep the root' impermanence next keep
