#!/usr/bin/env bash
# The second boot: what stayed, what went, and pruning by the timer's service.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root is fresh' says 'fresh root' impermanence status
check 'nothing is wrong' not says wrong impermanence status
check 'a stray file is gone' not test -e /opt/stray
check 'and in the old root' says /opt/stray find /run/impermanence/top/old_roots -name stray
check 'a package that went into the template is there' test -e /usr/share/probe/installed
check 'and known' says 'install ok installed' dpkg --status probe
check 'and has what it wrote at the first boot' grep -q state /var/lib/probe/state
check 'an entry is there' test -e /srv/data/kept
check 'reading writes nothing to the root' says noatime findmnt --noheadings --output OPTIONS /
check 'the machine id stays' cmp /etc/machine-id /srv/data/machine-id
check 'PID 1 knew it' test "$(journalctl --boot --lines=1 --output=json | grep -o '"_MACHINE_ID":"[0-9a-f]*"')" = "\"_MACHINE_ID\":\"$(cat /srv/data/machine-id)\""
check 'the journal of the boot before stays' test "$(journalctl --list-boots --quiet | wc -l)" = 2
check 'the journal of this boot has its first line' says 'Linux version' first_lines
check 'and is on the persistent volume' test -d "/persist/var/log/journal/$(cat /etc/machine-id)"
check 'the keys of the SSH server stay' cmp /etc/ssh/ssh_host_ed25519_key /srv/data/key
check 'with their mode' test "$(stat --format=%a /etc/ssh/ssh_host_ed25519_key)" = 600
check 'the password that was changed stays' grep -q '^root:\$' /etc/shadow
check 'with the mode of the file' test "$(stat --format=%a:%G /etc/shadow)" = 640:shadow
check 'the initrd reads its units once' read_once
quiet

# Of four old roots the policy of `impermanence setup` keeps three, whatever their age.
old=/run/impermanence/top/old_roots
for day in 1 2; do btrfs subvolume snapshot / "$old/2026-01-0${day}_10:33:02" >/dev/null; done
check 'the service of the timer prunes and waits' systemctl start impermanence-prune.service
check 'an expired root is gone' not test -e "$old/2026-01-01_10:33:02"
check 'the others are kept' test "$(find "$old" -mindepth 1 -maxdepth 1 -name '[!.]*' | wc -l)" = 3
touch /opt/kept
check 'the next boot can be asked to keep the root' impermanence next keep
