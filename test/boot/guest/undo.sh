#!/usr/bin/env bash
# A boot that is to be the last one with a fresh root, of a machine that mounts /boot when somebody looks.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
systemctl is-system-running --wait >/dev/null
check 'the root is fresh' says 'fresh root' impermanence status
check '/boot is an automount' findmnt --mountpoint /boot --types autofs
check 'a command in the template has the /boot of the machine' impermanence template run -- touch /boot/from-the-template
check 'where it left a file' test -e /boot/from-the-template
check 'on the disk for it' findmnt --mountpoint /boot --types ext4

touch /opt/of-this-root /srv/data/of-the-volume
check 'the set-up is undone' impermanence setup --undo --no-initrd
check 'the volume is no more in fstab' not grep -q /persist /etc/fstab
check 'what somebody else wrote there is' grep -q x-systemd.automount /etc/fstab
check 'no configuration is left' not test -e /etc/impermanence/impermanence.toml
check 'what was added to it is set aside' test -e /etc/impermanence/conf.d/test.toml.before-undo
check 'and read no more' not test -e /etc/impermanence/conf.d/test.toml
check 'which a set-up asks about' says 'move /etc/impermanence/conf.d/test.toml.before-undo back' impermanence setup --dry-run
