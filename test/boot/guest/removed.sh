#!/usr/bin/env bash
# A boot after the package was removed.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the former root boots' test -e /opt/former
check 'nothing of ours is left to run' not says impermanence systemctl list-unit-files
check 'nothing of ours is in the journal' not says impermanence journalctl --boot --no-pager
check 'the persistent volume is mounted' findmnt --mountpoint /persist
timing
