#!/usr/bin/env bash
# A boot on dbus-broker instead of dbus-daemon: the daemon, the bus's policy, activation, PID 1, who may do what.
# shellcheck disable=SC1091 # it is there in the machine
. /persist/check.sh
check 'every unit that boots is well' says running systemctl is-system-running --wait
check 'the bus is dbus-broker' show Id Id=dbus-broker.service dbus.service
check 'the daemon is ready' show ActiveState ActiveState=active impermanenced.service
check 'busctl lists' says 'a(ostt)' manager ListRoots 'a{sv}t' 0 0
check 'a snapshot is taken' impermanence snapshot --label broker
check 'and pinned' impermanence pin newest
check 'pruning is planned, and done' impermanence prune --wait
check 'what is pinned stays' says broker impermanence roots
check 'the next boot is asked for' impermanence next keep
check 'PID 1 puts entries in place' says in-place impermanence persist
check 'the configuration is read again' systemctl reload impermanenced.service
check 'whoever is nobody may read' nobody impermanence roots
check 'but not take a snapshot' not nobody impermanence snapshot
check 'it is stopped' systemctl stop impermanenced.service
check 'a call starts it' nobody impermanence roots
check 'it is running again' show ActiveState ActiveState=active impermanenced.service
