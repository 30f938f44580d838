#!/usr/bin/env bash
# A boot after the set-up was undone: the root is that of the boot before, with what was kept.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
# An initrd from before has early boot still, which finds no template.
check 'every unit that boots is well' says "$(cat /run/checks/says)" systemctl is-system-running --wait
check 'the root is that of the boot before' test -e /opt/of-this-root
check 'and has what was kept' test -e /srv/data/of-the-volume
check 'in itself' not findmnt --mountpoint /srv/data
check 'the volume is not mounted' not findmnt --mountpoint /persist
# A container has no fstab that mounts disks.
systemd-detect-virt --quiet --container || check '/boot is mounted when somebody looks' test -e /boot/from-the-template
