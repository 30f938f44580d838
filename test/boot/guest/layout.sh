#!/usr/bin/env bash
# Lays out two empty disks, and installs a Debian into one as the notes of the set-up say.
# shellcheck disable=SC1091,SC2119,SC2120 # it is there in the machine; options may be left out
. /run/checks/check.sh
disks=/dev/disk/by-id/virtio-
echo -n 'correct horse' >/run/key
# noted PATTERN: what the notes of the set-up give to be typed.
noted() { sed -n "s/^note: $1/\\1/p" /run/notes; }
# encrypt [OPTION]: lays out the encrypted disk.
encrypt() { impermanence setup --device "${disks}encrypted" --luks --key-file /run/key --also home "$@" 2>/run/notes || { cat /run/notes; return 1; }; }
setup() { impermanence setup "$@"; }
# again: lays the other disk out a second time.
again() {
	output=$(impermanence setup --device "${disks}plain" 2>&1) || { echo "$output"; return 1; }
	not says mkfs echo "$output"
}
# reopen: the same for the encrypted disk, whose container is closed, and then once more, while it is open.
reopen() {
	cryptsetup close impermanence || return 1
	for _ in closed open; do
		output=$(encrypt 2>&1) || { echo "$output"; return 1; }
		not says luksFormat echo "$output" || return 1
	done
}
# installed: a Debian is in /mnt, as an installer leaves it.
installed() {
	cp --archive /run/impermanence/top/stock/. /mnt
	eval "echo \"$(noted 'for crypttab(5): \(.*\)')\"" >>/mnt/etc/crypttab
	echo "UUID=$(blkid --match-tag UUID --output value /dev/mapper/impermanence) / btrfs subvol=root 0 0" >/mnt/etc/fstab
	echo MODULES=dep >/mnt/etc/initramfs-tools/conf.d/driver-policy # what an installer asks: drivers for this machine alone
}

systemctl is-system-running --wait >/dev/null
check 'what would be done is printed' says luksFormat encrypt --dry-run
check 'and is not done' not blkid --probe "${disks}encrypted"
check 'a disk is laid out, and encrypted' encrypt
check 'one that is in use is left alone' says 'is made of' setup --device "${disks}encrypted"
check 'another is laid out' setup --device "${disks}plain"
udevadm settle
check 'with an EFI system partition' says vfat blkid --probe "${disks}plain-part1"
check 'and all subvolumes' says 'path root' bash -c "mount --mkdir ${disks}plain-part2 /run/plain && btrfs subvolume list /run/plain && umount /run/plain"
check 'a second time nothing is formatted' again
check 'nor is the encrypted one, closed and opened' reopen

check 'it is mounted as the notes say' bash -c "set -e; $(noted 'to install into it: \(.*\), and below it'); $(noted '  \(mount .*\)')"
check 'a Debian is installed' installed
check 'and set up' setup --root /mnt --preset=accounts,ssh-host-keys
touch /mnt/opt/former
check 'a boot loader has what it needs' tar --create --file="${disks}loader" --directory=/mnt/boot \
	--transform='s/vmlinuz-.*/kernel/;s/initrd.img-.*/initrd/' --exclude='config-*' --exclude='System.map-*' .
echo "encrypted $(cryptsetup luksUUID "${disks}encrypted-part2")"
check 'all of it is written' bash -c 'umount --recursive /mnt && cryptsetup close impermanence'
