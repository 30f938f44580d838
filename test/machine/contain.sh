#!/usr/bin/env bash
# Sourced by what boots a container, in a mount namespace of its own: nspawn wants the one hierarchy of cgroup2 there.
umount --recursive /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup /sys/fs/cgroup

# contain OPTION…: systemd-nspawn, in a cgroup of its own. Of two containers in one, each has the services of the other in its services' cgroups.
contain() {
	local cgroup status=0
	cgroup=$(mktemp --directory "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/container.XXXXXX")
	(echo 0 >"$cgroup/cgroup.procs" && exec systemd-nspawn --quiet --boot --capability=all --register=no --keep-unit --private-network "$@") || status=$?
	find "$cgroup" -depth -type d -exec rmdir {} + || true
	return "$status"
}
