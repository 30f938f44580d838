package test

import (
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

// TestInitrdsHaveTheConfiguration has the hooks of dracut and of initramfs-tools make an initrd, with functions of the names that those give
// them.
func TestInitrdsHaveTheConfiguration(t *testing.T) {
	root := installed(t)
	want := configure(t, root)
	slices.Sort(want)
	btrfstest.Run(t, "mkdir", "-p", root+"/usr/share/initramfs-tools")
	btrfstest.Run(t, "ln", "-s", "gone", root+"/usr/lib/impermanence/presets/a file that is gone.toml")
	writeFile(t, root+"/usr/share/initramfs-tools/hook-functions", `copy_file() { cp --parents "$2" "$DESTDIR"; }
copy_exec() { cp --parents "$1" "$DESTDIR"; }
manual_add_modules() { :; }
`)
	const dracut = `set -e
inst_multiple() { cp --parents "$@" "$initdir"; }
initdir=/dracut systemdsystemunitdir=/usr/lib/systemd/system
mkdir -p /dracut$systemdsystemunitdir /usr/lib/systemd/system/initrd-parse-etc.service.d
. /usr/lib/dracut/modules.d/90impermanence/module-setup.sh
install`
	for name, command := range map[string][]string{
		"dracut":          {"bash", "-c", dracut},
		"initramfs-tools": {"env", "DESTDIR=/initramfs-tools", "sh", "/usr/share/initramfs-tools/hooks/impermanence"},
	} {
		initrd := root + "/" + name
		btrfstest.Run(t, "mkdir", initrd)
		btrfstest.Run(t, "chroot", append([]string{root}, command...)...)
		got := strings.Fields(btrfstest.Run(t, "find", initrd, "-type", "f", "(", "-name", "*.toml", "-o", "-name", "*.json", ")", "-printf", "/%P\n"))
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
