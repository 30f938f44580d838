package boot

import (
	"crypto/aes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/xts"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// The machine that the tests run on may have no device mapper. A volume on LUKS or LVM is therefore laid out as plain data where the guest's
// device mapper will look for it.

// testSlowLVM boots from a logical volume on a disk that appears 20 s after the initrd has begun to look for it.
func testSlowLVM(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	image := filepath.Join(t.TempDir(), "lvm")
	const start, extents = 1 << 20, 8 << 20
	write(t, image, "")
	if err := os.Truncate(image, start+diskSize+extents); err != nil {
		t.Fatal(err)
	}
	device := btrfstest.Attach(t, image)
	const config = "devices{obtain_device_list_from_udev=0 use_devicesfile=0} activation{udev_sync=0 udev_rules=0} backup{backup=0 archive=0}"
	btrfstest.Run(t, "pvcreate", "--driverloaded=n", "--devices="+device, "--config="+config, "--yes", "--dataalignment=1m", device)
	btrfstest.Run(t, "vgcreate", "--driverloaded=n", "--devices="+device, "--config="+config, "machine", device)
	btrfstest.Run(t, "lvcreate", "--driverloaded=n", "--devices="+device, "--config="+config, "--yes", "--activate=n", "--zero=n", "--wipesignatures=n",
		"--extents=100%FREE", "--name=root", "machine")
	btrfstest.Run(t, "dd", "if="+d.image, "of="+device, "bs=1M", "conv=sparse,notrunc", "oflag=seek_bytes", "seek=1048576")
	btrfstest.Run(t, "sync", device)
	d.root = "root=/dev/mapper/machine-root rd.lvm.lv=machine/root rootflags=subvol=" + rootSubvolume
	waits := "dracut initqueue hook"
	if on.initrd == "initramfs-tools" {
		waits = "Waiting for root file system"
	}
	expect(t, machine{disk: d, name: name, script: "fresh", drive: qemuDrive(image), late: 20 * time.Second, waits: waits})
}

// luksUUID is the id of the encrypted container.
const luksUUID = "1ec51ec5-0000-4000-8000-000000000000"

// testLUKS boots from an encrypted disk. A wrong passphrase is typed first: nothing happens before the right one.
func testLUKS(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	image, passphrase := encrypted(t, former(t, installed).image)
	m := machine{disk: installed, name: name, script: "fresh", drive: qemuDrive(image), answers: []string{"wrong", passphrase}, overInitrd: map[string]string{
		"etc/crypttab": "root UUID=" + luksUUID + " none luks\n",
	}}
	m.disk.root = "root=/dev/mapper/root rd.luks.name=" + luksUUID + "=root rootflags=subvol=" + rootSubvolume
	m.asks = asksForPassphrase
	if on.initrd == "initramfs-tools" {
		m.disk.root += " cryptopts=target=root,source=UUID=" + luksUUID
		m.asks = "Please unlock disk root"
	}
	expect(t, m)
}

// asksForPassphrase is what systemd says on the console when a disk is locked.
const asksForPassphrase = "enter passphrase"

// encrypted makes a LUKS2 container with the contents of a plain image, and returns it and its passphrase.
func encrypted(t *testing.T, plain string) (image, passphrase string) {
	t.Helper()
	const start, passphraseText = 16 << 20, "correct horse"
	dir := t.TempDir()
	image = filepath.Join(dir, "luks")
	volumeKey := make([]byte, 64)
	if _, err := rand.Read(volumeKey); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "volume.key"), string(volumeKey))
	write(t, filepath.Join(dir, "passphrase"), passphraseText)
	write(t, image, "")
	if err := os.Truncate(image, start+diskSize); err != nil {
		t.Fatal(err)
	}
	btrfstest.Run(t, "cryptsetup", "luksFormat", "--batch-mode", "--type=luks2", "--uuid="+luksUUID, "--cipher=aes-xts-plain64",
		"--key-size=512", "--sector-size=512", "--offset=32768", "--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000",
		"--master-key-file="+filepath.Join(dir, "volume.key"), image, filepath.Join(dir, "passphrase"))
	encrypt(t, plain, image, start, volumeKey)
	return image, passphraseText
}

// encrypt writes what a plain image holds into a container, from an offset on, as aes-xts-plain64 does: sectors of 512 bytes, numbered from 0.
func encrypt(t *testing.T, plain, container string, start int64, key []byte) {
	t.Helper()
	const sector = 512
	cipher, err := xts.NewCipher(aes.NewCipher, key)
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(plain)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(container, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	buffer := make([]byte, 1<<20)
	for at := int64(0); ; {
		// A hole stays one: what is there was never written, and nobody reads it.
		at, err = in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at -= at % int64(len(buffer))
		if _, err := in.ReadAt(buffer, at); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(buffer); i += sector {
			cipher.Encrypt(buffer[i:i+sector], buffer[i:i+sector], uint64(at+int64(i))/sector)
		}
		if _, err := out.WriteAt(buffer, start+at); err != nil {
			t.Fatal(err)
		}
		at += int64(len(buffer))
	}
}
