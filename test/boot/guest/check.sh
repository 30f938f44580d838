#!/usr/bin/env bash
# What the checks of several boots have in common.

# quiet: nothing of ours is at the level of an error in the journal of this boot.
quiet() {
	check 'nothing of ours is an error in the journal' not says impermanence journalctl --boot --priority=err --no-pager --output=short
}

# read_once: the initrd did not have PID 1 read all units again for the sake of the root's fstab.
read_once() { not says 'will request daemon-reload' journalctl --boot --no-pager --unit=initrd-parse-etc.service; }

# first_lines: of the journal of this boot, as they are on the persistent volume.
first_lines() { journalctl --directory=/var/log/journal --boot --dmesg --no-pager --quiet | sed -n 1,3p; }

# times: when the root's PID 1 began and when multi-user.target was reached, in microseconds since the kernel's start.
times() {
	echo "times $(systemctl show --property=UserspaceTimestampMonotonic --value) $(systemctl show --property=ActiveEnterTimestampMonotonic --value multi-user.target)"
}

# timing: what we took of this boot, for the transcript.
timing() {
	echo "note $(systemd-analyze time | head -n 1)"
	journalctl --boot --output=short-monotonic --no-pager | grep -i impermanence | sed 's/^/note /'
}

# login_reader: what a person is shown who logs in. The shell of this one ends at once. The login of Debian 13 hangs the terminal up, which
# ends a shell that waits for it: exec.
login_reader() { timeout 60 script --quiet --command 'exec login -f reader' /dev/null </dev/null; }
