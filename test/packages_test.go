package test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestPackagesHoldWhatIsInstalled compares each package with `make install`, byte for byte and mode for mode: one table
// feeds both, and nothing of it may get lost on the way into any of the formats.
func TestPackagesHoldWhatIsInstalled(t *testing.T) {
	packages := makePackages(t)
	want := t.TempDir()
	makeTarget(t, "install", want)
	for format, path := range packages {
		t.Run(format, func(t *testing.T) {
			got := unpacked(t, path)
			for _, file := range files(t, want) {
				compareInstalled(t, got, strings.TrimPrefix(file, want), file)
			}
			for _, file := range files(t, got) {
				name := strings.TrimPrefix(file, got)
				if !strings.HasPrefix(name, "/usr/") && !strings.HasPrefix(name, "/.") { // .PKGINFO, .INSTALL, .MTREE
					t.Errorf("%s is in the package: a configuration that is not there is the one that does nothing", name)
				}
			}
		})
	}
}

// compareInstalled compares one file of a package with the one that install puts there. Documentation may be compressed; the license
// is Debian's own copy there.
func compareInstalled(t *testing.T, root, name, want string) {
	t.Helper()
	path := filepath.Join(root, name)
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		path += ".gz"
		data, err = gunzipped(path)
	}
	if os.IsNotExist(err) && strings.HasSuffix(name, "/LICENSE") {
		if text := readFile(t, filepath.Join(root, "usr/share/doc/impermanence/copyright")); strings.Contains(text, "common-licenses/Apache-2.0") {
			return
		}
	}
	if err != nil {
		t.Errorf("%s is not in the package: %v", name, err)
		return
	}
	if string(data) != readFile(t, want) {
		t.Errorf("%s differs from what install puts there", name)
	}
	if have, wanted := mode(t, path), mode(t, want); have != wanted {
		t.Errorf("%s has mode %v, install gives it %v", name, have, wanted)
	}
}

// TestPackagesTellTheMachine holds that each format's scripts enable what the preset enables, have systemd read its units again, and
// have the initrd made anew.
func TestPackagesTellTheMachine(t *testing.T) {
	packages := makePackages(t)
	deb := t.TempDir()
	btrfstest.Run(t, "dpkg-deb", "--control", packages["deb"], deb)
	scripts := map[string]string{
		"deb":         readFile(t, deb+"/postinst") + readFile(t, deb+"/prerm") + readFile(t, deb+"/postrm") + readFile(t, deb+"/triggers"),
		"rpm":         btrfstest.Run(t, "rpm", "--query", "--package", "--scripts", packages["rpm"]),
		"pkg.tar.zst": readFile(t, filepath.Join(unpacked(t, packages["pkg.tar.zst"]), ".INSTALL")),
	}
	says := map[string][]string{
		"deb":         {"daemon-reload", "deb-systemd-helper enable", "deb-systemd-helper purge", "update-initramfs", "this machine is still set up"},
		"rpm":         {"daemon-reload", "systemctl --no-reload preset", "systemctl --no-reload disable", "dracut --regenerate-all --force", "this machine is still set up"},
		"pkg.tar.zst": {"post_install()", "pre_remove()", "systemctl --no-reload preset", "systemctl --no-reload disable", "this machine is still set up"},
	}
	for format := range says {
		says[format] = append(says[format], presetUnits(t)...)
	}
	for format, words := range says {
		for _, word := range words {
			if !strings.Contains(scripts[format], word) {
				t.Errorf("the scripts of the %s do not have %q:\n%s", format, word, scripts[format])
			}
		}
	}
}

// TestPackagesAreOfTheArchitecture that the binaries were built for: dpkg, rpm and pacman would install others.
func TestPackagesAreOfTheArchitecture(t *testing.T) {
	root, destination := t.TempDir(), t.TempDir()
	btrfstest.Run(t, "mkdir", "-p", root+"/usr/share/man", root+"/usr/share/doc/impermanence")
	writeFile(t, root+"/usr/share/doc/impermanence/CHANGELOG.md", "new\n")
	nfpm := "bin/tools/nfpm-" + strings.TrimSpace(btrfstest.Run(t, "sed", "-n", "s/^NFPM_VERSION *:= *//p", "../Makefile"))
	btrfstest.Run(t, "make", "-C", "..", "--no-print-directory", nfpm)
	t.Setenv("GOARCH", "arm64")
	btrfstest.Run(t, "../systemd-units/packages/build", "../"+nfpm, root, destination, "v1.2.3")
	if got := strings.TrimSpace(btrfstest.Run(t, "dpkg-deb", "--field", globbed(t, destination+"/*.deb")[0], "Architecture")); got != "arm64" {
		t.Errorf("Debian's is of %q", got)
	}
	if got := btrfstest.Run(t, "rpm", "--query", "--package", "--queryformat", "%{ARCH}", globbed(t, destination+"/*.rpm")[0]); got != "aarch64" {
		t.Errorf("rpm's is of %q", got)
	}
	if got := readFile(t, unpacked(t, globbed(t, destination+"/*.pkg.tar.zst")[0])+"/.PKGINFO"); !strings.Contains(got, "arch = aarch64\n") {
		t.Errorf("pacman's has\n%s", got)
	}
}

// TestPackageIsLintianClean has Debian's own checker read the package.
func TestPackageIsLintianClean(t *testing.T) {
	out, err := exec.Command("lintian", "--allow-root", "--fail-on=error,warning", "--info", makePackages(t)["deb"]).CombinedOutput()
	if err != nil || strings.Contains(string(out), "W: ") || strings.Contains(string(out), "E: ") {
		t.Errorf("lintian: %v\n%s", err, out)
	}
}

// makePackages makes the packages and returns their paths by format.
func makePackages(t *testing.T) map[string]string {
	t.Helper()
	btrfstest.Run(t, "make", "-C", "..", "--no-print-directory", "packages")
	packages := map[string]string{}
	for _, format := range []string{"deb", "rpm", "pkg.tar.zst"} {
		found := globbed(t, "../bin/packages/*."+format)
		if len(found) != 1 {
			t.Fatalf("bin/packages has %q of format %s", found, format)
		}
		packages[format] = found[0]
	}
	return packages
}

// unpacked is a directory with the files of a package.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	if strings.HasSuffix(path, ".deb") {
		btrfstest.Run(t, "dpkg-deb", "--extract", path, dir)
	} else {
		btrfstest.Run(t, "bsdtar", "-x", "-p", "-C", dir, "-f", path)
	}
	return dir
}

func gunzipped(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}
