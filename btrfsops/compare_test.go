package btrfsops

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// roundsEnv raises the number of rounds of random changes, for long runs.
const roundsEnv = "IMPERMANENCE_COMPARE_ROUNDS"

const (
	defaultRounds = 240
	roundsOfTree  = 40 // in one file system
)

// Random changes to random trees, and what Compare says of them against the reference. Each round compares several pairs
// of subvolumes: a root with its template, with the empty subvolume, with another root of the same template, with one of
// another origin. A round is repeated by the name of its file system.
func TestCompareWithReference(t *testing.T) {
	rounds := defaultRounds
	if n, err := strconv.Atoi(os.Getenv(roundsEnv)); err == nil {
		rounds = n
	}
	for seed := range rounds / roundsOfTree {
		t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) {
			g := newGarden(t, uint64(seed))
			for range roundsOfTree {
				g.round()
				if t.Failed() {
					return
				}
			}
		})
	}
}

// garden is a file system in which trees grow.
type garden struct {
	*testing.T
	*fixture
	r     *rand.Rand
	count int
	log   []string
	fresh int // rounds since the roots were made
}

func newGarden(t *testing.T, seed uint64) *garden {
	t.Helper()
	var mkfs []string
	small := seed%4 >= 2
	if small { // the trees have many leaves, and most of them stay as they are
		mkfs = []string{"--nodesize=4096"}
	}
	g := &garden{T: t, fixture: newFixture(t, mkfs...), r: rand.New(rand.NewPCG(seed, 7))}
	if seed%2 == 1 {
		g.remount("compress-force=zstd")
	}
	btrfstest.Subvolume(t, g.path("build"))
	btrfstest.Subvolume(t, g.path("alien"))
	if small {
		g.fill(g.path("build/many"), 300)
	}
	for range 120 {
		g.change("build")
		g.change("alien")
	}
	g.roots()
	return g
}

// fill makes a directory of small files.
func (g *garden) fill(dir string, count int) {
	must(g.T, os.Mkdir(dir, 0o755))
	for i := range count {
		must(g.T, os.WriteFile(filepath.Join(dir, fmt.Sprint(strings.Repeat("many", i%7), i)), nil, 0o644))
	}
}

// remount lets the kernel forget all that it has in memory: inode numbers are given again.
func (g *garden) remount(options string) {
	must(g.T, g.Close())
	btrfstest.Unmount(g.T, g.dir)
	btrfstest.Mount(g.T, g.device, g.dir, strings.TrimSuffix("subvolid=5,"+options, ","))
	fs, err := OpenMounted(g.dir)
	must(g.T, err)
	g.Filesystem = fs
	g.Cleanup(func() { _ = fs.Close() })
}

// roots makes the template anew, and the roots from it.
func (g *garden) roots() {
	for _, name := range []string{"root", "second", "template"} {
		if _, err := os.Lstat(g.path(name)); err == nil {
			g.deleteNested(g.path(name))
			btrfstest.Run(g.T, "btrfs", "subvolume", "delete", g.path(name))
		}
	}
	btrfstest.Run(g.T, "btrfs", "subvolume", "snapshot", "-r", g.path("build"), g.path("template"))
	for _, name := range []string{"root", "second"} {
		btrfstest.Run(g.T, "btrfs", "subvolume", "snapshot", g.path("template"), g.path(name))
	}
	g.fresh = 0
}

func (g *garden) deleteNested(dir string) {
	must(g.T, filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err == nil && p != dir && isSubvolumePath(p) {
			btrfstest.Run(g.T, "btrfs", "subvolume", "delete", p)
			return filepath.SkipDir
		}
		return err
	}))
}

func isSubvolumePath(p string) bool {
	var st unix.Stat_t
	return unix.Lstat(p, &st) == nil && st.Ino == 256
}

func (g *garden) round() {
	g.Helper()
	switch {
	case g.fresh > 12:
		for range 10 {
			g.change("build")
		}
		g.roots()
	case g.r.IntN(8) == 0:
		g.remount("")
	}
	g.fresh++
	for range g.r.IntN(12) {
		g.change("root")
	}
	for range g.r.IntN(4) {
		g.change("second")
	}
	g.compare("template", "root")
	switch g.r.IntN(5) {
	case 0:
		g.compare("", "root")
	case 1:
		g.compare("second", "root")
	case 2:
		g.compare("alien", "root")
	case 3:
		g.compare("root", "template")
	case 4:
		g.compare("build", "second")
	}
}

// compare holds Compare against the reference.
func (g *garden) compare(base, root string) {
	g.Helper()
	var got []string
	var sizes int64
	err := g.Compare(context.Background(), Comparison{Layout: layout, Base: base, Root: root}, func(c Change) error {
		got = append(got, lineOf(c))
		if c.Kind != ChangeDeleted {
			sizes += int64(c.Size)
		}
		return nil
	})
	must(g.T, err)
	slices.Sort(got)
	was, is := readTree(g.T, g.Filesystem, g.treePath(base)), readTree(g.T, g.Filesystem, g.treePath(root))
	want, wantSizes := referenceCompare(was, is, g.forkBetween(base, root))
	if diff := cmp.Diff(want, got); diff != "" {
		g.Errorf("%s against %s (-reference +Compare):\n%s\nchanges so far:\n%s", root, base, diff, strings.Join(g.log, "\n"))
	}
	if sizes != wantSizes {
		g.Errorf("%s against %s: %d bytes listed, not %d", root, base, sizes, wantSizes)
	}
	roots, err := g.ListRoots(layout)
	if err != nil || len(roots) != 0 {
		g.Errorf("a comparison left %v, %v", roots, err)
	}
}

func (g *garden) treePath(name string) string {
	if name == "" {
		return ""
	}
	return g.path(name)
}

// forkBetween is the last transaction that two subvolumes share, from what was made of what.
func (g *garden) forkBetween(base, root string) uint64 {
	if base == "" || base == "alien" || root == "alien" {
		return 0
	}
	made := func(name string) uint64 {
		s, _, err := g.one(g.id(g.T, name), keyRootItem)
		must(g.T, err)
		return s.CreatedIn
	}
	switch {
	case base == "build" || root == "build":
		return made("template")
	case base == "template":
		return made(root)
	case root == "template":
		return made(base)
	default:
		return min(made(base), made(root))
	}
}
