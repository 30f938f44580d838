package setup

import (
	"slices"
	"strings"

	"github.com/impermanence/impermanence/daemon/fstab"
)

// findSwap lists swap files in the root's subvolume: those of fstab, and those in use, as /proc/swaps has them. The kernel makes no snapshot of
// a subvolume with an active one.
func (f *Facts) findSwap(root, active string) []string {
	var files []string
	for _, line := range fstab.Parse(f.Files[fstabFile]) {
		if line.Type == "swap" && !strings.HasPrefix(line.Spec, "/dev/") {
			files = append(files, line.Spec)
		}
	}
	for line := range strings.Lines(active) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[1] != "file" {
			continue
		}
		if file, inside := strings.CutPrefix(fields[0], strings.TrimSuffix(root, "/")+"/"); inside {
			files = append(files, "/"+file)
		}
	}
	return slices.DeleteFunc(files, func(file string) bool { return !strings.HasPrefix(file, "/") || !f.onRoot(file) })
}
