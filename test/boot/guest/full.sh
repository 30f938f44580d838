#!/usr/bin/env bash
# A boot from a disk without room for another byte.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
# Either is right: there may be room for a snapshot when there is none for data.
fresh_or_told() { not test -e /opt/former || says wrong impermanence status; }

systemctl is-system-running --wait >/dev/null
check 'the disk is full' not dd if=/dev/zero of=/persist/more bs=1M count=64 oflag=direct
check 'status tells of the boot' says 'root' impermanence status
check 'a root that is not fresh is told of' fresh_or_told
check 'the volume is mounted' findmnt --mountpoint /persist
echo "note $(impermanence status | tr '\n' ' ')"
