package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/impermanence/impermanence/btrfsops"
)

// osReleaseFile holds the version of the kernel that runs.
const osReleaseFile = "/proc/sys/kernel/osrelease"

// checkModules refuses a fresh root in which the kernel that runs would find no modules, where it finds them in the root as it is. The boot loader
// boots a kernel that was installed in the running root, as by unattended upgrades, and the template knows nothing of it: without modules what is
// in fstab is not mounted, and there is no network.
func checkModules(fs *btrfsops.Filesystem, layout btrfsops.Layout) error {
	release := readTrimmed(osReleaseFile)
	has := func(subvolume string) bool {
		for _, dir := range []string{"usr/lib/modules", "lib/modules"} {
			if _, err := os.Stat(filepath.Join(fs.Top(), subvolume, dir, release, "modules.dep")); err == nil {
				return true
			}
		}
		return false
	}
	if layout.Template == "" || release == "" || has(layout.Template) || !has(layout.Root) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(fs.Top(), layout.Template)); err != nil {
		return nil //nolint:nilerr // the rollover says that there is none
	}
	return fmt.Errorf("the template has no modules for the kernel that runs, %s, which was installed in the running root: sudo impermanence template commit", release)
}
