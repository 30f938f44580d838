package debian

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// Spec says which Debian is wanted.
type Spec struct {
	Suite    string   // "bookworm", "trixie"
	Packages []string // beside those that every Debian has
	Extract  bool     // the packages alone, unpacked and not set up: to run programs of another release from
}

// Archive returns a tar archive of it. Where packages come from is the affair of the machine that the test runs on: apt's sources are not
// in the archive.
func Archive(t testing.TB, s Spec) string {
	t.Helper()
	path := filepath.Join(Cache(t), s.name()+".tar")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	variant := "minbase"
	if s.Extract {
		variant = "extract"
	}
	part := path + ".part"
	btrfstest.Run(t, "mmdebstrap", "--quiet", "--mode=root", "--variant="+variant, "--include="+strings.Join(s.Packages, ","),
		"--customize-hook=rm -rf \"$1\"/etc/apt/sources.list \"$1\"/etc/apt/sources.list.d/*", "--format=tar", s.Suite, part)
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Tree returns a directory with it, unpacked once. Nobody may write there.
func Tree(t testing.TB, s Spec) string {
	t.Helper()
	path := filepath.Join(Cache(t), s.name())
	if _, err := os.Stat(path); err == nil {
		return path
	}
	part := path + ".part"
	if err := os.MkdirAll(part, 0o755); err != nil {
		t.Fatal(err)
	}
	Unpack(t, s, part)
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Unpack unpacks it into a directory.
func Unpack(t testing.TB, s Spec, dir string) {
	t.Helper()
	btrfstest.Run(t, "tar", "--extract", "--numeric-owner", "--xattrs", "--exclude=./dev/*", "--directory="+dir, "--file="+Archive(t, s))
}

// Cache is the directory in which tests keep what is expensive to make. What is there is named by what it was made from.
func Cache(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache"
	}
	dir := filepath.Join(cache, "impermanence-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s Spec) name() string {
	key := sha256.Sum256(fmt.Appendf(nil, "%s %q %t", s.Suite, s.Packages, s.Extract))
	return fmt.Sprintf("%s-%x", s.Suite, key[:6])
}
