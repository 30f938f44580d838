#!/usr/bin/env bash
# The life of a machine whose root is fresh at every boot, told on a disk image made for it. Run it with `sudo make demo`.
#
# All of it happens in a mount namespace and a process namespace of its own: the image lies on a tmpfs over /mnt, /run is another,
# the loop device frees itself when its last user is gone. So nothing can be left behind, however the demo ends.
set -euo pipefail
cd "$(dirname "$0")/.."

image=/mnt/impermanence-demo.img
bold='' green='' plain=''
if [ -t 1 ]; then
	bold=$'\e[1m' green=$'\e[32m' plain=$'\e[0m'
fi

row() { printf '  %s✓%s %s\n' "$green" "$plain" "$1"; }

# outside starts the demo in its namespaces, and ends them with itself, however it ends.
outside() {
	local status=0
	[ "$(id -u)" -eq 0 ] || { echo 'error: needs root for loop devices and mounts: sudo make demo' >&2; return 1; }
	trap 'interrupted=yes; kill -KILL "$child"' INT TERM HUP
	setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$BASH" test/demo.sh inside &
	child=$!
	wait "$child" 2>/dev/null || status=$? # (bash tells of killed children there)
	# The kernel frees the mounts, and the loop device with them, a moment after the last process.
	for _ in {1..50}; do
		losetup --list --noheadings --output BACK-FILE | grep -q "^$image" || break
		sleep 0.1
	done
	if losetup --list --noheadings --output BACK-FILE | grep -q "^$image" || [ -e "$image" ] || mountpoint --quiet /proc/cmdline; then
		echo 'demo: something is left behind' >&2
		return 1
	fi
	if [ -n "${interrupted-}" ]; then
		echo 'demo: interrupted; nothing is left behind' >&2
		return 130
	fi
	[ "$status" -ne 0 ] || row 'no mount, loop device, process or file is left behind'
	return "$status"
}

if [ "${1-}" != inside ]; then
	outside
	exit
fi

# --- how it is told --------------------------------------------------------------------------------------------------

rows=()

chapter() {
	printf '\n%s== %s ==%s\n' "$bold" "$1" "$plain"
	pause
}

say() { printf '\n# %s\n' "$1"; }

# run COMMAND…: prints it as it would be typed, runs it, and gives a reader on a terminal the time to read.
run() {
	local word line='$'
	for word; do
		case $word in
		*\'*) line+=" \"$word\"" ;;
		*[!A-Za-z0-9_./=:@,+%-]* | '') line+=" '$word'" ;;
		*) line+=" $word" ;;
		esac
	done
	printf '%s\n' "$line"
	"$@"
	pause
}

pause() { if [ -t 1 ]; then sleep 1; fi; }

# shown WHAT CONDITION…: a row of the table at the end; the demo fails where the condition does not hold.
shown() {
	local what=$1
	shift
	if ! "$@" >/dev/null; then
		printf '\nNOT SHOWN: %s\n(%s)\n' "$what" "$*" >&2
		exit 1
	fi
	rows+=("$what")
}

not() { ! "$@"; }

# --- the machine -----------------------------------------------------------------------------------------------------

mount -t tmpfs -o mode=0755 demo /mnt
mount -t tmpfs -o mode=0755 demo /run
PATH=$PWD/bin:$PATH:/usr/sbin:/sbin
export PATH
config=/mnt/impermanence.toml
top=/mnt/top
root=/mnt/root
install -m 0644 daemon/config/testdata/seeds.toml "$config"
mkdir "$top" "$root"

# What the kernel gives every boot anew, and what it was booted with; here boots share a kernel.
touch /run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
echo quiet >/run/cmdline
mount --bind /run/cmdline /proc/cmdline

# boot: what early boot does between the initrd's start and the switch to the root.
boot() {
	cat /proc/sys/kernel/random/uuid >/run/boot_id
	run impermanence-initrd rollover --config="$config" --device="$device"
	run mount -o subvol=root "$device" "$root"
	activate
	mkdir -p "$root/persist"
	run mount -o subvol=persist "$device" "$root/persist"
	run impermanence-initrd persist --config="$config" --sysroot="$root"
}

# activate: what a distribution brings to an empty root. (NixOS makes /etc anew at every boot; others use a template.)
activate() {
	mkdir -p "$root/etc" "$root/var" "$root/opt"
	printf 'root:x:0:0::/root:/bin/sh\ndemo:x:1000:100::/home/demo:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\nusers:x:100:\n' >"$root/etc/group"
}

power_off() { run umount --recursive "$root"; }

# beside: what lies beside the root, as a checksum over names, owners, modes, times and content. (Only reading may leave traces.)
beside() {
	tar --create --numeric-owner --xattrs --pax-option='exthdr.name=%d/%f,delete=atime' --directory="$top" persist nix | sha256sum
}

old_roots() { find "$top/old_roots" -mindepth 1 -maxdepth 1 | sort; }

chapter 'A disk'
run truncate --size=1G "$image"
run mkfs.btrfs --quiet --label=demo "$image"
device=$(losetup --find --show "$image")
exec 9<"$device"
losetup --detach "$device" # takes effect when its last user is gone
run mount -o subvolid=5 "$device" "$top"
run btrfs subvolume create "$top/root"
run btrfs subvolume create "$top/persist"
run btrfs subvolume create "$top/nix"
echo 'every program there is' >"$top/nix/store"
say 'What persists is configured once; all else is gone at the next boot:'
run cat "$config"

chapter 'The first boot'
boot
say 'systemd gives the machine its id, the journal begins, and people do what people do:'
run sh -c "echo 4c0ffee0d15c0cafe0ddba11deadbeef > $root/etc/machine-id"
run sh -c "echo 'boot 1' >> $root/var/log/messages"
run sh -c "echo 'Dear diary' > $root/home/demo/this-will-persist/letter"
run touch "$root/opt/stray" "$root/home/demo/download"
run stat --format='%A %u:%g %n' "$root/var/keys" "$root/etc/nixos" "$root/home/demo/this-will-persist"
shown 'a directory has the mode that its parentDirectory entry asks for' test "$(stat -c %a "$root/var/keys")" = 700
shown 'an entry has the owner that was configured, by the name it has on that root' test "$(stat -c %u "$root/etc/nixos")" = 1000
power_off

chapter 'The second boot'
boot
run ls "$root/opt/stray" || true
shown 'a stray file is gone after the next boot' not test -e "$root/opt/stray"
run sh -c "echo 'boot 2' >> $root/var/log/messages"
run cat "$root/etc/machine-id" "$root/var/log/messages" "$root/home/demo/this-will-persist/letter"
shown '/etc/machine-id stays' grep -q 4c0ffee "$root/etc/machine-id"
shown '/var/log stays' test "$(cat "$root/var/log/messages")" = $'boot 1\nboot 2'
shown "a user's directory stays" test -e "$root/home/demo/this-will-persist/letter"
say 'Nothing was lost silently: the stray file lies in the old root.'
run find "$top/old_roots" -name stray
shown 'and still there in the old root' test "$(find "$top/old_roots" -name stray | wc -l)" = 1
say 'Twice is once: the same boot rolls over no second time.'
before=$(old_roots)
run impermanence-initrd rollover --config="$config" --device="$device" || true
shown 'one boot rolls over once' test "$before" = "$(old_roots)"
say 'Someone makes a container; it is a subvolume inside the root, where a plain delete fails.'
run mkdir -p "$root/var/lib/machines"
run btrfs subvolume create "$root/var/lib/machines/web"
run touch "$root/var/lib/machines/web/index.html"
power_off

chapter 'The third boot'
boot
run ls -A "$root/var/lib"
shown 'a nested subvolume does not stand in the way' not test -e "$root/var/lib/machines"
run ls "$top/old_roots"
say 'It lies in the old root, whole.'
run find "$top/old_roots" -name index.html
nested=$(find "$top/old_roots" -mindepth 1 -maxdepth 1 -exec test -e {}/var/lib/machines/web/index.html \; -print)
power_off

chapter 'The fourth and the fifth'
boot
power_off
boot

chapter 'The daemon, asked by anyone on the bus'
mkdir -p /run/bus
cat >/run/bus/org.impermanence1.service <<-SERVICE
	[D-BUS Service]
	Name=org.impermanence1
	Exec=$PWD/bin/impermanenced --config=$config --device=$device --sysroot=$root --top=$top
SERVICE
cat >/run/bus/bus.conf <<-BUS
	<busconfig>
	  <type>session</type>
	  <listen>unix:path=/run/bus/socket</listen>
	  <servicedir>/run/bus</servicedir>
	  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
	</busconfig>
BUS
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus/socket
run dbus-daemon --config-file=/run/bus/bus.conf --fork
say 'The first call starts it.'
run sh -c "busctl --address=$DBUS_SYSTEM_BUS_ADDRESS introspect org.impermanence1 /org/impermanence1 org.impermanence1.Manager | cut -c -72"
run busctl --address="$DBUS_SYSTEM_BUS_ADDRESS" --no-pager tree org.impermanence1
shown 'busctl lists the methods of org.impermanence1' grep -q ListRoots <(busctl --address="$DBUS_SYSTEM_BUS_ADDRESS" introspect org.impermanence1 /org/impermanence1)
run impermanence status
shown 'status tells that this boot had a fresh root, and where the former one is' grep -q 'former root is' <(impermanence status)
run impermanence roots

chapter 'A file comes back'
say 'Which old root has the stray file of the first boot?'
run impermanence log /opt/stray
stray=$(basename "$(dirname "$(dirname "$(find "$top/old_roots" -name stray)")")")
run impermanence restore "$stray" /opt/stray
shown 'a file comes back from the old root that has it' test -e "$root/opt/stray"

chapter 'One thing more that persists'
run sh -c "mkdir -p $root/srv && echo 'to be kept' > $root/srv/notes"
say 'What will the next boot lose?'
run impermanence diff /srv/notes
shown 'diff tells what the next boot will lose' grep -q /srv/notes <(impermanence diff)
run impermanence persist /srv
shown 'and no more what is kept' not grep -q /srv/notes <(impermanence diff)
run findmnt --noheadings --output TARGET,SOURCE "$root/srv"
shown 'one command keeps what is there already, at once and at every boot' grep -q 'to be kept' "$top/persist/srv/notes"
run impermanence forget /srv
shown 'another ends that, and gives a copy back' grep -q 'to be kept' "$root/srv/notes"

chapter 'Thirty-one days later'
run impermanence snapshot --label 'before the upgrade'
shown 'a snapshot of the running root is kept beside the old roots' grep -q snapshot <(impermanence roots)
say 'The attribute that tells when the old root with the container was the root is set back, instead of waiting.'
then=$(date --utc --date='31 days ago' +%Y-%m-%dT%H:%M:%S.000000Z)
run setfattr --name=trusted.impermanence.rolled_over --value="$then" "$nested"
run impermanence roots
run impermanence prune --dry-run
shown 'prune --dry-run deletes nothing' test -e "$nested"
before=$(beside)
run impermanence prune
shown 'an old root with a subvolume inside is pruned at 31 days' not test -e "$nested"
shown 'the younger ones are kept' test "$(old_roots | wc -l)" = 5
shown 'persist and nix beside it are untouched' test "$before" = "$(beside)"
run impermanence roots

chapter 'A wrong configuration'
sed -e 's/oldRoots/oldRoot/' "$config" >/mnt/wrong.toml
run impermanence-initrd persist --config=/mnt/wrong.toml --sysroot="$root" || true
shown 'a wrong configuration is refused, with its line and the right word' grep -q 'wrong.toml:4: .*oldRoots' <(impermanence-initrd persist --config=/mnt/wrong.toml --sysroot="$root" 2>&1)

run umount --recursive "$root"

chapter 'What was shown'
for what in "${rows[@]}"; do
	row "$what"
done
