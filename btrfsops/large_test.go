package btrfsops

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// Of a large directory a comparison reads little: the parts that have changed, and in the base what lies between them. What
// was lost at its ends, far from all that changed elsewhere, is found all the same, and nothing else is.
func TestCompareFindsWhatALargeDirectoryLost(t *testing.T) {
	f := newFixture(t, "--nodesize=4096")
	const count = 1000
	name := func(i int) string { return fmt.Sprintf("root/d/%04d", i) }
	for i := range count {
		f.write(t, name(i), "")
	}
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("template"))
	for _, part := range []struct{ from, to int }{{count - 3, count}, {0, 2}, {400, 401}, {600, 800}} {
		for i := part.from; i < part.to; i++ {
			must(t, os.Remove(f.path(name(i))))
		}
		f.write(t, fmt.Sprintf("root/d/new%d", part.from), "")
		var want []string
		for i := range count {
			if _, err := os.Lstat(f.path(name(i))); err != nil {
				want = append(want, fmt.Sprintf("d/%04d", i))
			}
		}
		var got []string
		for _, c := range f.differences(t, "template", "root") {
			if c.Kind == ChangeDeleted {
				got = append(got, c.Path)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("deleted: %v\nfound: %v", want, got)
		}
	}
}
