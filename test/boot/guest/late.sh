#!/usr/bin/env bash
# A persistent volume that the system mounts, not its initrd.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
# earlier SERVICE TARGET: the service was done before the target was reached.
earlier() { [ "$(stamp ExecMainExitTimestampMonotonic "$1")" -lt "$(stamp ActiveEnterTimestampMonotonic "$2")" ]; }
stamp() { systemctl show --value --property="$1" "$2"; }
# PID 1 has its id before anything is mounted: see machine-id(5).
one_problem() { [ "$(impermanence status --problems | grep -c wrong)" = "$(impermanence status --problems | grep -c 'wrong.*machine-id')" ]; }

systemctl is-system-running --wait >/dev/null
check 'the root is fresh' says 'fresh root' impermanence status
check 'the volume is mounted' findmnt --mountpoint /persist
check 'the entries are in place' findmnt --mountpoint /srv/data
check 'since before local-fs.target' earlier impermanence-persist.service local-fs.target
check 'the system does not wait long for the disk' not says 'Timed out waiting' journalctl --boot --no-pager
check 'only the machine id came too late' one_problem
echo "note $(impermanence status --problems | tr '\n' ' ')"
