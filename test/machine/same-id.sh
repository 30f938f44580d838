#!/usr/bin/env bash
# The boot after: the id stays.
# shellcheck disable=SC1091 # it is there in the machine
. /persist/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the machine id stays' cmp /etc/machine-id /persist/id
check 'it was no first boot' not test -e /run/machine-id
check 'status finds nothing wrong' well
check 'the journal has both boots' says -1 journalctl --list-boots
