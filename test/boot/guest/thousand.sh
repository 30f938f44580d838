#!/usr/bin/env bash
# A boot with a thousand old roots: for the times in its journal.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the root is fresh' says 'fresh root, a copy of root-template' impermanence status
check 'all are listed' test "$(impermanence roots | wc -l)" -gt 1000
quiet
timing
