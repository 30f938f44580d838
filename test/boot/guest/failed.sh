#!/usr/bin/env bash
# A boot that was to have a fresh root and has none.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
systemctl is-system-running --wait >/dev/null
check 'the former root boots' test -e /opt/former
check 'status tells what is wrong' says "$(cat /run/checks/says)" impermanence status
check 'and what to type' says '  try ' impermanence status --problems
check 'who logs in is told' says "$(cut -c1-40 /run/checks/says)" login_reader
check 'entries are in place all the same' findmnt --mountpoint /srv/data
echo "note $(impermanence status --problems | tr '\n' ' ')"
