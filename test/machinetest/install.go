package machinetest

import (
	"os"
	"path/filepath"
	"testing"
)

// MachineID is the id of each machine.
const MachineID = "0123456789abcdef0123456789abcdef\n"

// Stub is where early boot's program is installed.
const Stub = "usr/lib/impermanence/impermanence-initrd"

// initrdScript stands for an initrd tool: the initrd is the configuration that it would have, or "none".
const initrdScript = `#!/bin/sh
echo "$0 $*" >>/boot/commands
cat /etc/impermanence/impermanence.toml >/boot/initrd 2>/dev/null || echo none >/boot/initrd
`

// base is what every machine has; mode and text by path.
var base = []struct {
	path string
	mode os.FileMode
	text string
}{
	{"etc/machine-id", 0o444, MachineID},
	{"etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"},
	{"etc/group", 0o644, "root:x:0:\n"},
	{"var/log/messages", 0o640, "before the set-up\n"},
	{"var/lib/systemd/random-seed", 0o600, "seed"},
	{"var/lib/dpkg/status", 0o644, "Package: base\nStatus: install ok installed\nArchitecture: all\nVersion: 12\n"},
	{"tmp/leftover", 0o644, ""},
	{"usr/lib/modules/6.1.0-1-amd64/modules.dep", 0o644, ""},
	{Stub, 0o755, ""},
	{"usr/share/initramfs-tools/hooks/impermanence", 0o755, ""},
	{"usr/lib/dracut/modules.d/90impermanence/module-setup.sh", 0o755, ""},
	{"usr/lib/initcpio/install/impermanence", 0o755, ""},
}

// Install installs a machine below root, which has initrdTool ("usr/bin/dracut"), and what else is in files.
func Install(t testing.TB, root, initrdTool string, files map[string]string) {
	t.Helper()
	for _, f := range base {
		Write(t, filepath.Join(root, f.path), f.text, f.mode)
	}
	for name, text := range files {
		Write(t, filepath.Join(root, name), text, 0o644)
	}
	for _, dir := range []string{"boot", "proc", "sys", "dev", "run", "etc/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	units := filepath.Join(repository(t), "systemd-units")
	for from, to := range map[string]string{"presets": "usr/lib/impermanence/presets", "system": "usr/lib/systemd/system"} {
		if err := os.CopyFS(filepath.Join(root, to), os.DirFS(filepath.Join(units, from))); err != nil {
			t.Fatal(err)
		}
	}
	const preset = "90-impermanence.preset"
	copyFile(t, filepath.Join(units, "system", preset), filepath.Join(root, "usr/lib/systemd/system-preset", preset), 0o644)
	copyFile(t, "/bin/busybox", filepath.Join(root, "bin/busybox"), 0o755)
	for _, applet := range []string{"sh", "cat", "ls", "mkdir", "rm", "touch", "readlink", "id"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	Write(t, filepath.Join(root, initrdTool), initrdScript, 0o755)
}

// Write writes a file with its directories; the umask does not count.
func Write(t testing.TB, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	Write(t, to, string(text), mode)
}

// repository finds the root of the source tree, above the package that is tested.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == "/" {
			t.Fatal("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}
