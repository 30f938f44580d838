package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/impermanence/impermanence/daemon/losses"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/machinetest"
)

// aPicker has losses at these paths.
func aPicker(paths ...string) *picker {
	top := &treeNode{}
	for _, p := range paths {
		top.insert(strings.TrimPrefix(p, "/"), dbus.FileChange{Change: "added", Type: "file", Path: dbus.Bytes(p), Size: 1})
	}
	return newPicker(output{width: 40, ascii: true}, top, time.Unix(0, 0), func(string) *exec.Cmd { return exec.Command("true") })
}

// Whatever is typed, and however the terminal is resized, the cursor stands on a row that is on the screen, and the screen
// has as many lines as the terminal.
func TestPickerKeepsItsScreen(t *testing.T) {
	keys := []string{"j", "k", "p", "i", "u", "g", "G", "x", "l", "up", "down", "pgup", "pgdown", "home", "end", "left", "right", "enter", ""}
	rapid.Check(t, func(t *rapid.T) {
		var paths []string
		for i := range rapid.IntRange(1, 40).Draw(t, "paths") {
			paths = append(paths, fmt.Sprintf("/%d/%d/%d\n\x1b[2J", i%3, i%7, i))
		}
		if rapid.Bool().Draw(t, "root") {
			paths = append(paths, "/")
		}
		p := aPicker(paths...)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "resize") {
				p.resize(rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height"))
			} else {
				p.key(rapid.SampledFrom(keys).Draw(t, "key"))
			}
			if p.cursor < p.first || p.cursor >= p.first+p.page() || p.cursor >= len(p.rows) {
				t.Fatalf("the cursor is at %d, the screen begins at %d and has %d of %d rows", p.cursor, p.first, p.page(), len(p.rows))
			}
			screen := p.View()
			if lines := strings.Count(screen, "\n") + 1; lines != p.page()+4 {
				t.Fatalf("%d lines on a terminal of %d", lines, p.height)
			}
			if strings.Contains(screen, "\x1b[2J") {
				t.Fatal("a name speaks to the terminal")
			}
		}
	})
}

// The root itself can differ, and be all that does: it is shown, and can't be marked.
func TestPickerOfTheRootItself(t *testing.T) {
	p := aPicker("/")
	for _, key := range []string{"p", "i", "u", "left", "right", "enter", "j"} {
		p.key(key)
		if screen := p.View(); !strings.Contains(screen, " /") {
			t.Errorf("after %q: %q", key, screen)
		}
	}
	if len(p.marks) > 0 {
		t.Errorf("marked %q", p.marks)
	}
}

// A rule that is made of a path ignores just that.
func TestRuleForAPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[ab!#*?\\ \[\]-]{1,6}`).Draw(t, "name")
		other := rapid.StringMatching(`[ab!#*?\\ \[\]-]{1,6}`).Draw(t, "other")
		directory := rapid.Bool().Draw(t, "directory")
		rule, err := ruleFor("/"+name, directory)
		if err != nil {
			t.Fatal(err)
		}
		var rules losses.Rules
		rules.Add("/", "f", rule)
		if rules.Ignored("/"+name, directory) == nil {
			t.Errorf("%q does not ignore %q", rule, name)
		}
		if other != name && rules.Ignored("/"+other, directory) != nil {
			t.Errorf("%q made of %q ignores %q", rule, name, other)
		}
	})
	if rule, err := ruleFor("/a\nb", false); err == nil {
		t.Errorf("a line of two: %q", rule)
	}
}

// Rules are added to a file whose last line somebody has not ended, and to one that is not there yet.
func TestRulesAreAdded(t *testing.T) {
	for there, want := range map[string]string{"": "/b\n", "/a\n": "/a\n/b\n", "/a": "/a\n/b\n"} {
		file := filepath.Join(t.TempDir(), "impermanence/ignore")
		if there != "" {
			machinetest.Write(t, file, there, 0o644)
		}
		if err := appendTo(file, "/b\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q becomes %q, %v", there, got, err)
		}
	}
}

// Keys are told apart however a terminal sends them, and however many at once.
func TestKeys(t *testing.T) {
	var got []string
	for key, sent := "", "j\x1b[A\x1bOB\x1b[5~\x1b[1;5Xk\r\x1b[200~é\x1b"; sent != ""; {
		key, sent = nextKey(sent)
		got = append(got, key)
	}
	if want := []string{"j", "up", "down", "pgup", "", "k", "enter", "", "\xc3", "\xa9", "esc"}; !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}
