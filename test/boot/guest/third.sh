#!/usr/bin/env bash
# The third boot: the root was kept, once.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root was kept' test -e /opt/kept
check 'status tells why' says 'kept' impermanence status
check 'the boot after has a fresh one again' says 'fresh' impermanence next
quiet
