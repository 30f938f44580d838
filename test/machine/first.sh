#!/usr/bin/env bash
# The first boot: the daemon in its sandbox, its units, and who may do what.
# shellcheck disable=SC1091 # it is there in the machine
. /persist/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the daemon is ready' show ActiveState ActiveState=active impermanenced.service
check 'it is exposed no more than 2.0, as systemd counts' systemd-analyze security --no-pager --threshold=20 impermanenced.service
check 'the top level is mounted for it' findmnt --types btrfs /run/impermanence/top
check 'and for root alone' test "$(stat --format=%a /run/impermanence)" = 700
check 'status knows that the root is fresh' says 'fresh root, a copy of root-template' impermanence status
check 'busctl lists old roots' says '/org/impermanence1/root/' manager ListRoots 'a{sv}t' 0 0
check 'the journal is on the persistent volume' test -d /persist/var/log/journal/4c0ffee0d15c4cafa0ddba11deadbeef

check 'a snapshot is taken in the sandbox' impermanence snapshot --label sandbox
check 'and listed' says sandbox impermanence roots
check 'whoever is nobody may read' nobody impermanence roots
check 'but not take a snapshot' not nobody impermanence snapshot --label nobody
check 'nor prune' not nobody busctl call org.impermanence1 /org/impermanence1 org.impermanence1.Manager Prune 'a{sv}t' 0 0

mkdir -p /etc/impermanence/conf.d
printf '[persistence."/persist"]\ndirectories = ["/srv/data"]\n' >/etc/impermanence/conf.d/more.toml
check 'a reload reads what is new' systemctl reload impermanenced.service
check 'PID 1 puts the new entry in place' impermanence persist /srv/data
check 'where the whole machine sees it' findmnt /srv/data
check 'which the daemon sees in its sandbox' says in-place impermanence persist /srv/data
printf 'nonsense = 1\n' >/etc/impermanence/conf.d/wrong.toml
check 'a wrong configuration fails the reload' not systemctl reload impermanenced.service
check 'with its file and line' says 'wrong.toml:1' journalctl --boot --unit=impermanenced.service
rm /etc/impermanence/conf.d/wrong.toml
check 'the former one stays in force' says in-place impermanence persist /srv/data

check 'it is stopped' systemctl stop impermanenced.service
check 'a call starts it' impermanence status
check 'it is running again' show ActiveState ActiveState=active impermanenced.service

# What is kept from now on.
mkdir -p /srv/run /srv/busy /srv/gone
echo run | tee /srv/run/file /srv/gone/file >/srv/busy/file
check 'what is there is kept from now on' says 'in-place	/srv/run' impermanence persist /srv/run /srv/gone
check 'and mounted where the whole machine sees it' findmnt /srv/run
check 'and recorded on its volume' grep -q /srv/run /persist/.impermanence/entries.toml
exec 3>>/srv/busy/file
check 'who writes is named, from a sandbox that sees no processes' says "/srv/busy/file (bash[$$])" impermanence persist /srv/busy
check 'and nothing is done' not test -e /persist/srv/busy
check 'the next boot may take it' impermanence persist --next-boot /srv/busy
echo written later >&3
check 'a copy is put back' says 'forgotten	/srv/gone' impermanence forget /srv/gone
check 'without a mount' not findmnt /srv/gone
check 'what was kept is told' says /persist/srv/gone impermanence orphans
check 'nobody may' not nobody impermanence forget /srv/run
check 'nor see what lies on a volume' not nobody impermanence orphans

echo changed >/etc/issue
check 'a file of the template is changed and kept' says 'in-place	/etc/issue' impermanence persist /etc/issue

# What programs replace by rename is copied back while the machine runs.
check 'copies are watched' show ActiveState ActiveState=active impermanence-copy-back.service
printf 'live\n' >/etc/replaced.new
mv /etc/replaced.new /etc/replaced
check 'one that a service of the boot has added is kept' holds /persist/etc/early early
check 'a file replaced by rename is on its volume at once' holds /persist/etc/replaced live
printf 'added\n' >/etc/added
check 'another one is added while running' says 'in-place	/etc/added' impermanence persist --method copy /etc/added
printf 'added live\n' >/etc/added.new
mv /etc/added.new /etc/added
check 'and watched from then on' holds /persist/etc/added 'added live'

# Where nothing is copied nobody watches, until something is.
check 'a machine without copies' touch /run/impermanence/no-copies
rm -f /run/impermanence/copies
check 'is told to watch them' systemctl restart impermanence-copy-back.service
check 'and does not' show ActiveState ActiveState=inactive impermanence-copy-back.service
printf 'again\n' >/etc/again
check 'until there is one' says 'in-place	/etc/again' impermanence persist --method copy /etc/again
check 'and then does' show ActiveState ActiveState=active impermanence-copy-back.service
printf 'again live\n' >/etc/again.new
mv /etc/again.new /etc/again
check 'and copies it' holds /persist/etc/again 'again live'
# More often than PID 1 starts what it takes for crashing.
for n in {1..8}; do echo "$n" >"/etc/many$n"; done
check 'many are added' impermanence persist --method copy /etc/many{1..8}
check 'and watched' show ActiveState ActiveState=active impermanence-copy-back.service
echo live >/etc/many8.new
mv /etc/many8.new /etc/many8
check 'to the last one' holds /persist/etc/many8 live
check 'and forgotten' impermanence forget /etc/many{1..8}
printf '[persistence."/persist"]\nfiles = [{ file = "/etc/later", method = "copy" }]\n' >/etc/impermanence/conf.d/later.toml
check 'the daemon is restarted, not reloaded, with one more' systemctl restart impermanenced.service
printf 'later\n' >/etc/later
check 'which is put in place' says 'in-place	/etc/later' impermanence persist /etc/later
printf 'later live\n' >/etc/later.new
mv /etc/later.new /etc/later
check 'and watched' holds /persist/etc/later 'later live'

# What others mount and unmount reaches the sandbox, and is told.
check 'an entry is unmounted by hand' umount /srv/data
check 'status tells' within 20 says '/srv/data is not in place' impermanence status --problems
check 'it is put back' says in-place impermanence persist /srv/data
check 'and the sandbox sees it' within 20 not says '/srv/data is not in place' impermanence status --problems

check 'all works without the bus as well' says sandbox impermanence --no-bus roots
check 'a bug report tells of the units' says Id=impermanenced.service impermanence report
check 'anybody may make one' nobody impermanence report

touch /opt/stray
echo first >/srv/data/boot
printf 'replaced\n' >/etc/replaced.new
check 'a copied file can be replaced by rename' mv /etc/replaced.new /etc/replaced
# Whatever ends the watch, what has changed is copied at the shutdown.
mkdir -p /run/systemd/system/impermanence-copy-back.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/impermanence-copy-back.service.d/test.conf
systemctl daemon-reload
check 'the watch is killed as a file was replaced' bash -c 'echo unwatched >/etc/added.new && systemctl kill --signal=STOP impermanence-copy-back.service &&
	mv /etc/added.new /etc/added && systemctl kill --signal=KILL impermanence-copy-back.service'
check 'which nobody copies yet' not grep unwatched /persist/etc/added
