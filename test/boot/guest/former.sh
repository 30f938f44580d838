#!/usr/bin/env bash
# A boot that keeps its root because somebody asked for it.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the former root boots' test -e /opt/former
check 'status tells why' says "$(cat /run/checks/says)" impermanence status
check 'nobody asked for it is told at login' empty /run/motd.d/impermanence.motd
check 'entries are in place' findmnt --mountpoint /srv/data
quiet
