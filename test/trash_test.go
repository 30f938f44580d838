package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/debian"
)

// trashDebian has a GIO that knows x-gvfs-trash; Debian 12's does not.
var trashDebian = debian.Spec{Suite: "trixie", Packages: []string{"libglib2.0-bin"}}

// TestTrash moves a user's file to the trash with gio, as file managers do (impermanence#147, #317): on an entry only where
// allowTrash says so, and then within the entry, so that it is kept and can be taken back from there.
func TestTrash(t *testing.T) {
	root := bootedDebian(t)
	writeFile(t, filepath.Join(root, "etc/impermanence.toml"), `[persistence."/persist".users.demo]
directories = [{ directory = "Documents", allowTrash = true }, "Pictures"]
`)
	btrfstest.Run(t, "cp", "../bin/impermanence-initrd", root+"/usr/bin/")
	inside := func(args ...string) (string, error) {
		out, err := exec.Command("chroot", append([]string{root}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := inside("impermanence-initrd", "persist", "--sysroot=/", "--config=/etc/impermanence.toml", "--run-dir=/run/impermanence"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, dir := range []string{"Documents", "Pictures"} {
		writeFile(t, filepath.Join(root, "home/demo", dir, "file"), "precious")
		btrfstest.Run(t, "chown", "1000:100", filepath.Join(root, "home/demo", dir, "file"))
	}
	trash := func(file string) (string, error) {
		return inside("setpriv", "--reuid=1000", "--regid=100", "--clear-groups", "env", "HOME=/home/demo", "LC_ALL=C", "gio", "trash", file)
	}
	if out, err := trash("/home/demo/Documents/file"); err != nil {
		t.Errorf("with allowTrash: %v: %s", err, out)
	}
	if got := readFile(t, filepath.Join(root, "persist/home/demo/Documents/.Trash-1000/files/file")); got != "precious" {
		t.Errorf("in the trash: %q", got)
	}
	if out, err := trash("/home/demo/Pictures/file"); err == nil || !strings.Contains(out, "Trashing on system internal mounts is not supported") {
		t.Errorf("without: %v: %s", err, out)
	}
	if got := readFile(t, filepath.Join(root, "persist/home/demo/Pictures/file")); got != "precious" {
		t.Errorf("what was not to be trashed: %q", got)
	}
}

// bootedDebian mounts a Debian as its root, with a persistent volume and a user.
func bootedDebian(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	device, top, root := btrfstest.NewDevice(t, 2<<30), filepath.Join(dir, "top"), filepath.Join(dir, "root")
	btrfstest.Mount(t, device, top, "subvolid=5")
	for _, name := range []string{"root", "persist"} {
		btrfstest.Subvolume(t, filepath.Join(top, name))
	}
	debian.Unpack(t, trashDebian, filepath.Join(top, "root"))
	passwd, err := os.OpenFile(filepath.Join(top, "root/etc/passwd"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintln(passwd, "demo:x:1000:100::/home/demo:/bin/sh")
	}
	if err != nil || passwd.Close() != nil {
		t.Fatal(err)
	}
	btrfstest.Mount(t, device, root, "subvol=root")
	btrfstest.Mount(t, device, filepath.Join(root, "persist"), "subvol=persist")
	btrfstest.Run(t, "mount", "-t", "proc", "proc", filepath.Join(root, "proc"))
	btrfstest.Run(t, "mount", "-t", "tmpfs", "-o", "mode=755", "run", filepath.Join(root, "run"))
	return root
}
