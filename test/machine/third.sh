#!/usr/bin/env bash
# The third boot: the root was kept, once.
# shellcheck disable=SC1091 # it is there in the machine
. /persist/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root was kept' test -e /opt/kept
check 'status tells why' says 'kept' impermanence status
check 'the boot after has a fresh one again' says 'fresh' impermanence next

# The package is removed, and comes back before the machine is restarted. The watch is held up.
systemctl kill --signal=STOP impermanence-copy-back.service
echo late >/etc/replaced
check 'as the package is removed' sh /persist/deb.prerm remove
check 'what is copied back is copied' grep -q late /persist/etc/replaced
check 'and a shutdown has no program to look for' show ActiveState ActiveState=inactive impermanence-copy-last.service
systemctl kill --signal=CONT impermanence-copy-back.service
mkdir /opt/units
mv /usr/lib/systemd/system/impermanence*.service /opt/units
systemctl daemon-reload
check 'it is watched all the same' show ActiveState ActiveState=active impermanence-copy-back.service
mv /opt/units/* /usr/lib/systemd/system
check 'the package comes back' sh /persist/deb.postinst configure
check 'and a shutdown copies again' show ActiveState ActiveState=active impermanence-copy-last.service
