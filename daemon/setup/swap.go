package setup

import (
	"slices"
	"strings"
)

// findSwap lists swap files in the root's subvolume: those of fstab, and those in use, as /proc/swaps has them. The kernel makes no snapshot of
// a subvolume with an active one.
func (f *Facts) findSwap(root, active string) []string {
	var files []string
	for _, line := range f.table() {
		if line.SwapFile() {
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
	return slices.DeleteFunc(files, func(file string) bool { return !f.onRoot(file) })
}
