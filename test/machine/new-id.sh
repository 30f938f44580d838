#!/usr/bin/env bash
# The first boot of all, without a machine id.
# shellcheck disable=SC1091 # it is there in the machine
. /persist/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'PID 1 made an id' grep -qE '^[0-9a-f]{32}$' /etc/machine-id
check 'which was written down on its volume' cmp /etc/machine-id /persist/etc/machine-id
check 'where it stays mounted' findmnt /etc/machine-id
check 'which nothing covers any more' not findmnt --types tmpfs /etc/machine-id
check 'status finds nothing wrong' well
check 'nor did putting entries in place' show Result Result=success impermanence-persist.service
cp /etc/machine-id /persist/id
