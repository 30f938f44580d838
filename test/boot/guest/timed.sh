#!/usr/bin/env bash
# A boot of a machine that is impermanent, for its times.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
times
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root is fresh' says 'fresh root, a copy of root-template' impermanence status
check 'and not at its first boot' show ConditionResult ConditionResult=no systemd-update-done.service
check 'all old roots are listed' test "$(impermanence roots | wc -l)" -eq "$(old_roots | wc -l)"
check 'the initrd reads its units once' read_once
quiet
timing
