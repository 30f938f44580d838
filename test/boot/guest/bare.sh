#!/usr/bin/env bash
# A boot of a machine without us, for its times.
# shellcheck disable=SC1091 # it is there in the machine
. /run/checks/check.sh
check 'nothing of ours is there' test ! -e /usr/bin/impermanence
times
timing
