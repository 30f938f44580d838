#!/usr/bin/env bash
# A boot into a copy of an old root.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root is a copy of the old root' test -e /opt/restored
check 'which can be written' touch /opt/of-this-boot
check 'the old root itself is as it was' not test -e "/run/impermanence/top/old_roots/2024-11-04_10:33:02/opt/of-this-boot"
check 'status tells' says 'restored root, a copy of 2024-11-04_10:33:02' impermanence status
check 'all that the machine has fits together' test -z "$(impermanence check 2>&1)"
quiet
