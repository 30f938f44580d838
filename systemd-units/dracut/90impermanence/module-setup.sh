#!/bin/bash
# dracut module: rolls the root over and puts the entries in place, in a systemd initrd.
# dracut sets the variables and the functions that are not set here.
# shellcheck disable=SC2154

# On a machine that is configured; elsewhere only when asked for (--add impermanence).
check() {
	require_binaries /usr/lib/impermanence/impermanence-initrd || return 1
	if [[ -n $(configuration) ]]; then
		return 0
	fi
	return 255
}

depends() {
	echo systemd btrfs
}

# The files of the configuration, one a line.
configuration() {
	existing /etc/impermanence/impermanence.toml {/etc,/usr/lib}/impermanence/conf.d/*.{toml,json}
}

# existing FILE…: those that there are
existing() {
	local file
	for file; do
		if [[ -e ${dracutsysrootdir-}$file ]]; then
			echo "$file"
		fi
	done
}

install() {
	local file
	inst_multiple /usr/lib/impermanence/impermanence-initrd
	{ configuration; existing {/etc,/usr/lib}/impermanence/presets/*.toml; } | while read -r file; do
		inst_simple "$file"
	done

	inst_multiple \
		"$systemdsystemunitdir/impermanence-rollover.service" \
		"$systemdsystemunitdir/impermanence-initrd-persist.service" \
		"$systemdsystemunitdir/initrd-parse-etc.service.d/impermanence.conf"
	# By hand: sysroot.mount comes from a generator, and `systemctl add-wants` makes no link to a unit that is not there, silently.
	link_wants sysroot.mount impermanence-rollover.service
	link_wants initrd.target impermanence-initrd-persist.service
}

# link_wants TARGET UNIT
link_wants() {
	mkdir -p "$initdir$systemdsystemunitdir/$1.wants"
	ln -sfn "../$2" "$initdir$systemdsystemunitdir/$1.wants/$2"
}
