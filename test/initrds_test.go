package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// configure configures a machine, with a preset of its own, and lists the files that early boot reads.
func configure(t *testing.T, root string) []string {
	t.Helper()
	files := []string{"/etc/impermanence/impermanence.toml", "/etc/impermanence/conf.d/more.json", "/etc/impermanence/presets/mine.toml"}
	btrfstest.Run(t, "mkdir", "-p", root+"/etc/impermanence/conf.d", root+"/etc/impermanence/presets")
	for _, file := range files {
		writeFile(t, root+file, "")
	}
	for _, preset := range globbed(t, root+"/usr/lib/impermanence/presets/*.toml") {
		files = append(files, strings.TrimPrefix(preset, root))
	}
	return files
}

// TestInitrdsHaveTheConfiguration has the hooks of dracut and of initramfs-tools say which files they take, by functions of the names that
// those give them.
func TestInitrdsHaveTheConfiguration(t *testing.T) {
	root := installed(t)
	want := configure(t, root)
	slices.Sort(want)
	btrfstest.Run(t, "mkdir", "-p", root+"/usr/share/initramfs-tools")
	writeFile(t, root+"/usr/share/initramfs-tools/hook-functions", "copy_file() { echo \"$2\"; }\ncopy_exec() { :; }\nmanual_add_modules() { :; }\n")
	const dracut = `set -e
inst_multiple() { :; }
inst_simple() { echo "$1"; }
initdir=/initrd systemdsystemunitdir=/units
. /usr/lib/dracut/modules.d/90impermanence/module-setup.sh
install`
	for name, command := range map[string][]string{
		"dracut":          {"bash", "-c", dracut},
		"initramfs-tools": {"sh", "/usr/share/initramfs-tools/hooks/impermanence"},
	} {
		out, err := exec.Command("chroot", append([]string{root}, command...)...).Output()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := strings.Split(strings.TrimSpace(string(out)), "\n")
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
