package test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestUnitsVerify has systemd read every unit as it is installed, with all that the units name.
func TestUnitsVerify(t *testing.T) {
	root := installed(t)
	units := globbed(t, filepath.Join(root, "usr/lib/systemd/system/impermanence*"))
	if len(units) < 7 {
		t.Fatalf("%d units are installed", len(units))
	}
	ofUsers := globbed(t, filepath.Join(root, "usr/lib/systemd/user/impermanence*"))
	if len(ofUsers) < 2 {
		t.Fatalf("%d units of users are installed", len(ofUsers))
	}
	for _, unit := range append(units, ofUsers...) {
		t.Run(filepath.Base(unit), func(t *testing.T) {
			if out, err := verify(root, strings.TrimPrefix(unit, root)); err != nil || out != "" {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}

// TestVerifyFindsWhatIsWrong holds that a silent systemd-analyze above means that nothing was found.
func TestVerifyFindsWhatIsWrong(t *testing.T) {
	root := installed(t)
	for name, line := range map[string]string{
		"command":   "[Service]\nExecStart=/usr/lib/impermanence/nothing\n",
		"directive": "[Service]\nExecStart=/bin/true\nProtectSytem=strict\n",
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, filepath.Join(root, "usr/lib/systemd/system/wrong.service"), line)
			if out, err := verify(root, "wrong.service"); err == nil && out == "" {
				t.Error("systemd-analyze verify finds nothing")
			}
		})
	}
}

// TestExposure holds how much of the machine the long-running units can reach, on systemd's scale of 0 to 100.
func TestExposure(t *testing.T) {
	root := installed(t)
	for unit, threshold := range map[string]string{
		"impermanenced.service":          "20",
		"impermanence-prune.service":     "10",
		"impermanence-copy-back.service": "36",
		"impermanence-copy-last.service": "36",
	} {
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--root="+root, "--threshold="+threshold, unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// TestInstallPutsEveryFileSomewhere compares the tree with what is installed, byte for byte, and takes it out again.
func TestInstallPutsEveryFileSomewhere(t *testing.T) {
	dest := t.TempDir()
	makeTarget(t, "install", dest)
	have := map[string]bool{}
	for _, path := range files(t, dest) {
		have[filepath.Base(path)+"\x00"+readFile(t, path)] = true
	}
	for _, path := range files(t, "../systemd-units") {
		how := filepath.Base(path) == "README.md" || strings.HasPrefix(path, "../systemd-units/packages/") || strings.HasPrefix(path, "../systemd-units/nixos/") // not what is installed, but how
		if !how && !have[filepath.Base(path)+"\x00"+readFile(t, path)] {
			t.Errorf("%s is installed nowhere", path)
		}
	}
	makeTarget(t, "uninstall", dest)
	if left := files(t, dest); len(left) > 0 {
		t.Errorf("make uninstall leaves %s", left)
	}
}

// TestInstallUnderAnotherPrefix holds that units and scripts follow PREFIX.
func TestInstallUnderAnotherPrefix(t *testing.T) {
	dest := t.TempDir()
	makeTarget(t, "install", dest, "PREFIX=/opt/imp")
	for _, path := range files(t, filepath.Join(dest, "opt/imp/lib/systemd")) {
		text := readFile(t, path)
		if strings.Contains(text, "/usr/lib/impermanence") || strings.Contains(text, "/usr/bin/impermanence") {
			t.Errorf("%s still names /usr:\n%s", path, text)
		}
	}
	if left := files(t, filepath.Join(dest, "usr")); len(left) > 0 {
		t.Errorf("%s is outside of the prefix", left)
	}
}

// TestScriptsAreClean runs shellcheck over every shell script of the tree.
func TestScriptsAreClean(t *testing.T) {
	var scripts []string
	for _, dir := range []string{"../systemd-units", "../test", "../.ci"} {
		for _, path := range files(t, dir) {
			first, _, _ := strings.Cut(readFile(t, path), "\n")
			if strings.HasPrefix(first, "#!") && strings.HasSuffix(first, "sh") {
				scripts = append(scripts, path)
			}
		}
	}
	if len(scripts) < 8 {
		t.Fatalf("found only %s", scripts)
	}
	btrfstest.Run(t, "shellcheck", scripts...)
}

// verify is `systemd-analyze verify` in root. It tells some faults on its output alone.
func verify(root, unit string) (string, error) {
	out, err := exec.Command("chroot", root, "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit).CombinedOutput()
	return string(out), err
}

// installed is this machine's root with the project installed on a layer over it.
func installed(t *testing.T) string {
	t.Helper()
	root := overlay(t)
	makeTarget(t, "install", root)
	return root
}

// overlay is this machine's root with a layer over it that takes what is written.
func overlay(t *testing.T) string {
	t.Helper()
	layer, root := t.TempDir(), t.TempDir()
	if err := unix.Mount("layer", layer, "tmpfs", 0, ""); err != nil {
		t.Fatalf("mount a tmpfs at %s: %v", layer, err)
	}
	t.Cleanup(func() { btrfstest.Unmount(t, layer) })
	upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("root", root, "overlay", 0, "lowerdir=/,upperdir="+upper+",workdir="+work); err != nil {
		t.Fatalf("mount an overlay at %s: %v", root, err)
	}
	t.Cleanup(func() { btrfstest.Unmount(t, root) })
	return root
}

func makeTarget(t *testing.T, target, dest string, more ...string) {
	t.Helper()
	btrfstest.Run(t, "make", append([]string{"-C", "..", "--no-print-directory", target, "DESTDIR=" + dest}, more...)...)
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// files lists the regular files below dir, but for what npm puts there; a dir that is not there has none.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err == nil && entry.Type().IsRegular() {
			found = append(found, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeFile(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}
