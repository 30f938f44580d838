#!/usr/bin/env bash
# A boot after power cuts in the boots before.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root is fresh' says 'fresh root, a copy of root-template' impermanence status
check 'nothing is wrong' not says wrong impermanence status
check 'an entry is there' grep -q kept /srv/data/kept
check 'the former root is an old root' says /opt/former find /run/impermanence/top/old_roots -name former
quiet
