#!/bin/bash
# dracut module: rolls the root over and puts the entries in place, in a systemd initrd.
# dracut sets the variables and the functions that are not set here.
# shellcheck disable=SC2154

# On a machine that is configured; elsewhere only when asked for (--add impermanence).
check() {
	require_binaries /usr/lib/impermanence/impermanence-initrd || return 1
	local found=()
	find_configuration
	[[ ${#found[@]} -gt 0 ]] || return 255
}

depends() {
	echo systemd btrfs
}

# find_configuration adds the files of the configuration to found.
find_configuration() {
	find_existing /etc/impermanence/impermanence.toml {/etc,/usr/lib}/impermanence/conf.d/*.{toml,json}
}

# find_existing FILE…: adds those that there are to found.
find_existing() {
	local file
	for file; do
		if [[ -e ${dracutsysrootdir-}$file ]]; then
			found+=("$file")
		fi
	done
}

install() {
	local found=()
	find_configuration
	find_existing {/etc,/usr/lib}/impermanence/presets/*.toml
	# One program takes them all: the presets are dozens.
	inst_multiple /usr/lib/impermanence/impermanence-initrd "${found[@]}" \
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
