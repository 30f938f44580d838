package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/test/bustest"
	"github.com/impermanence/impermanence/test/machinetest"
)

const guideDir = "../../systemd-units/doc"

// block is an example in a guide, between two lines of ```.
type block struct {
	language string
	text     string
}

// readGuide returns a guide and its examples.
func readGuide(t *testing.T, name string) (text string, blocks []block) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(guideDir, name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(string(data), -1) {
		blocks = append(blocks, block{match[1], match[2]})
	}
	return string(data), blocks
}

// guides are the names of all of them.
func guides(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(guideDir + "/*.md")
	if err != nil || len(found) < 8 {
		t.Fatalf("guides: %v, %v", found, err)
	}
	for i, path := range found {
		found[i] = strings.TrimSuffix(filepath.Base(path), ".md")
	}
	return found
}

// TestGuidesAreFollowed follows each guide to the letter, on a machine of its own, as testdata/guides/NAME.txtar says: what the
// machine is like before, and what is to be so after. The line "follow" stands for the commands of the guide.
func TestGuidesAreFollowed(t *testing.T) {
	programs := build(t)
	for _, name := range guides(t) {
		t.Run(name, func(t *testing.T) {
			frame, err := os.ReadFile(filepath.Join("testdata", "guides", name+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			_, blocks := readGuide(t, name)
			before, after, found := strings.Cut(string(frame), "\nfollow\n")
			if !found {
				t.Fatal("the story does not follow the guide")
			}
			story := filepath.Join(t.TempDir(), name+".txtar")
			if err := os.WriteFile(story, []byte(before+"\n"+commandsOf(name, blocks)+"\n"+after), 0o644); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, programs, bustest.Start(t))
			commands := w.commands()
			commands["distribution"] = w.cmdDistribution
			installPresets(t)
			testscript.Run(t, testscript.Params{
				Files: []string{story}, Setup: w.setup, Cmds: commands, RequireExplicitExec: true, RequireUniqueNames: true,
			})
		})
	}
}

// commandsOf are the commands of a guide as a story has them: a machine of a test has no package manager, boots when it is told
// to, and has its root elsewhere than at /.
func commandsOf(guide string, blocks []block) string {
	reads := []struct{ command, story string }{
		{`^(?:apt|dnf|zypper) install .*|^pacman -U .*`, "distribution " + guide},
		{`^systemctl reboot$`, "cp $$ROOT/etc/impermanence/impermanence.toml impermanence.toml\nboot\ndaemon start\nexec impermanence status\nstdout 'this boot   fresh root'\n! stdout wrong"},
		{`^impermanence (setup|template \w+)(.*)`, "exec impermanence $1 --root $$ROOT$2"},
		{`.+`, "exec sh -c '$0'"},
	}
	var story strings.Builder
	for _, b := range blocks {
		if b.language != "sh" {
			continue
		}
		for line := range strings.Lines(b.text) {
			line = strings.TrimSpace(line)
			for _, r := range reads {
				if pattern := regexp.MustCompile(r.command); pattern.MatchString(line) {
					story.WriteString(strings.ReplaceAll(pattern.ReplaceAllString(line, r.story), "/dev/vda2", "$DEVICE") + "\n")
					break
				}
			}
		}
	}
	return story.String()
}

// installPresets puts the presets where a package puts them, for this mount namespace alone.
func installPresets(t *testing.T) {
	t.Helper()
	layer := t.TempDir()
	if err := os.CopyFS(filepath.Join(layer, "impermanence", "presets"), os.DirFS("../../systemd-units/presets")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("presets", "/usr/lib", "overlay", unix.MS_RDONLY, "lowerdir="+layer+":/usr/lib"); err != nil {
		t.Fatalf("lay the presets over /usr/lib: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/usr/lib", unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// cmdDistribution installs a small machine of a distribution on the root: distribution NAME. Its package manager notes what it
// was asked for.
func (w *world) cmdDistribution(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("distribution", neg))
	distributions := map[string]struct{ initrd, file, packages string }{
		"debian":   {"usr/sbin/update-initramfs", "usr/sbin/mkinitramfs", "usr/bin/apt-get"},
		"fedora":   {"usr/bin/dracut", "etc/dracut.conf", "usr/bin/dnf"},
		"arch":     {"usr/bin/mkinitcpio", "etc/mkinitcpio.conf", "usr/bin/pacman"},
		"opensuse": {"usr/bin/dracut", "etc/dracut.conf", "usr/bin/zypper"},
	}
	d, known := distributions[args[0]]
	if !known {
		ts.Fatalf("distribution %q is not known", args[0])
	}
	machinetest.Install(w.t, w.sysroot(), d.initrd, map[string]string{
		d.file: "HOOKS=(base systemd block filesystems)\n", "etc/wireguard/wg0.conf": "secret\n",
		"etc/fstab": w.device + " / btrfs defaults,subvol=root 0 0\n",
	})
	machinetest.Write(w.t, filepath.Join(w.sysroot(), d.packages), "#!/bin/sh\necho \"$0 $*\" >/etc/upgraded\n", 0o755)
}

// TestGuidesShowWhatIsRight holds the configurations in guides and README.md against the schema, and each command of ours in
// their text against its help.
func TestGuidesShowWhatIsRight(t *testing.T) {
	programs := build(t)
	for _, name := range append(guides(t), "../../README") {
		text, blocks := readGuide(t, name)
		for _, b := range blocks {
			if b.language == "toml" {
				if _, err := config.ParseBytes(name+".md", []byte(b.text)); err != nil {
					t.Errorf("%v\n%s", err, b.text)
				}
			}
		}
		for _, match := range regexp.MustCompile("`(impermanence [^`]+)`").FindAllStringSubmatch(text, -1) {
			command, _, _ := strings.Cut(match[1], " -- ") // what follows is another program's
			words := strings.Fields(command)
			if out, err := exec.Command(filepath.Join(programs, words[0]), append(words[1:], "--help")...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, match[1], err, out)
			}
		}
	}
}

// TestGuideRuleLetsPrune holds that the polkit rule in the security guide lets that user prune and nothing else.
func TestGuideRuleLetsPrune(t *testing.T) {
	_, blocks := readGuide(t, "security")
	var rule string
	for _, b := range blocks {
		if b.language == "js" {
			rule = strings.Replace(b.text, `"operator"`, `"nobody"`, 1)
		}
	}
	w := newWorld(t, build(t), bustest.StartWithPolkit(t, rule))
	story := filepath.Join(t.TempDir(), "rule.txtar")
	text := fmt.Sprintf("boot\ndaemon start\nnobody 0 prune\nnobody 1 snapshot\nstderr 'sudo impermanence snapshot'\n-- impermanence.toml --\n[ephemeral.%q]\n\n[retention]\nkeepLast = 1\n", "/")
	if err := os.WriteFile(story, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Files: []string{story}, Setup: w.setup, Cmds: w.commands()})
}
