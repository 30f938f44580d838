package persist

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

var update = flag.Bool("update", false, "write golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew)\n%s", file, diff)
	}
}

// outcomeCase is one field of the table.
type outcomeCase struct {
	kind           Kind
	method         Method
	source, target string
}

var (
	sourceStates = []string{"missing", "empty", "present", "wrong kind", "symlink", "locked", "below a file"}
	targetStates = []string{"absent", "empty", "same", "same stamp", "seed stamp", "data", "wrong kind", "dangling", "elsewhere", "our link", "bound", "a mount"}
)

// TestOutcomes applies every combination of what can stand at a source and in a place, and holds the outcome against a table
// that people can read. After each, all that existed before is still to be found, and a second apply changes nothing.
func TestOutcomes(t *testing.T) {
	m := newMachine(t)
	var table strings.Builder
	table.WriteString(outcomesHead)
	number := 0
	for _, kind := range []Kind{Directory, File} {
		for _, method := range []Method{Auto, Bind, Symlink, Copy} {
			if kind == Directory && method == Copy {
				continue // the configuration refuses it
			}
			fmt.Fprintf(&table, "\n%s, %s\n", kind, method)
			for _, source := range sourceStates {
				for _, target := range targetStates {
					if (target == "bound" || target == "same") && source != "present" && source != "empty" {
						continue // there is nothing to be the same as
					}
					if strings.HasSuffix(target, "stamp") && source != "present" {
						continue // there is nothing that has the stamp
					}
					number++
					c := outcomeCase{kind, method, source, target}
					fmt.Fprintf(&table, "  %-12s | %-10s | %s\n", source, target, m.outcome(c, number))
				}
			}
		}
	}
	golden(t, "outcomes.txt", table.String())
}

const outcomesHead = `What an apply does with every combination of source and place.
Each line: source | place | state before -> state after: what was done; what the place shows then (why)
"locked" can be read by nobody but root; "below a file" can't be looked at, for its parent is a file.
"same stamp" has the source's sizes and times, but other content; "seed stamp" has those of what the source was made from.
`

// outcome sets a case up, applies it, and gives its line.
func (m *machine) outcome(c outcomeCase, number int) string {
	e := dirEntry(fmt.Sprintf("/c%03d/place", number))
	e.Kind, e.Method = c.kind, c.method
	tokens := m.setUpSource(c, e)
	tokens = append(tokens, m.setUpTarget(c, e)...)
	before, err := Inspect(m.t.Context(), m.options(), []Entry{e})
	if err != nil {
		m.t.Fatal(err)
	}
	report, _ := Apply(context.Background(), m.options(), []Entry{e})
	result := report.Results[0]
	line := fmt.Sprintf("%s -> %s: %s; %s", before[0].State, result.State, orNothing(result.Actions), m.shows(e.Target))
	if result.Err != nil {
		line += fmt.Sprintf(" (%s)", strings.ReplaceAll(result.Error, filepath.Dir(e.Target), ""))
	}
	if result.State == InPlace {
		m.wantUnchanged(e)
	}
	if err := Unmount(context.Background(), m.options(), []Entry{e}); err != nil && c.source != "below a file" {
		m.t.Errorf("%+v: %v", c, err)
	}
	if c.target == "a mount" {
		btrfstest.Unmount(m.t, m.path(e.Target))
	}
	m.wantReachable(c, filepath.Dir(e.Target), tokens)
	return line
}

func orNothing(actions string) string {
	if actions == "" {
		return "nothing"
	}
	return actions
}

// object puts something at a path and gives what must not get lost of it.
func (m *machine) object(p, what string, kind Kind, token string) []string {
	m.t.Helper()
	isFile := (kind == File) != (what == "wrong kind")
	switch {
	case what == "empty" && isFile:
		m.write(p, "")
		return nil
	case what == "empty":
		m.mkdir(p)
		return nil
	case isFile:
		m.write(p, token)
	default:
		m.write(p+"/data", token)
	}
	return []string{token}
}

func (m *machine) setUpSource(c outcomeCase, e Entry) []string {
	m.mkdir(filepath.Dir(e.Source))
	switch c.source {
	case "missing":
		return nil
	case "symlink":
		m.symlink("/link-of-the-source", e.Source)
		return []string{"/link-of-the-source"}
	case "below a file":
		if err := os.Remove(m.path(filepath.Dir(e.Source))); err != nil {
			m.t.Fatal(err)
		}
		m.write(filepath.Dir(e.Source), "file-above-the-source")
		return []string{"file-above-the-source"}
	case "locked":
		tokens := m.object(e.Source, "present", c.kind, "data-of-the-source")
		m.chown(e.Source, 65534, 65534, 0)
		return tokens
	}
	return m.object(e.Source, c.source, c.kind, "data-of-the-source")
}

func (m *machine) setUpTarget(c outcomeCase, e Entry) []string {
	m.mkdir(filepath.Dir(e.Target))
	switch c.target {
	case "absent":
		return nil
	case "dangling":
		m.symlink("/link-to-nothing", e.Target)
		return []string{"/link-to-nothing"}
	case "elsewhere":
		m.write(filepath.Dir(e.Target)+"/elsewhere", "data-elsewhere")
		m.symlink("elsewhere", e.Target)
		return []string{"data-elsewhere"}
	case "our link":
		m.symlink(e.Source, e.Target)
		return nil
	case "same":
		return m.object(e.Target, c.source, c.kind, "data-of-the-source")
	case "same stamp":
		tokens := m.object(e.Target, "present", c.kind, otherData)
		m.stamp(e.Source, e.Target)
		return tokens
	case "seed stamp":
		return m.setUpSeeded(c, e)
	case "bound":
		m.object(e.Target, "empty", c.kind, "")
		if err := unix.Mount(m.path(e.Source), m.path(e.Target), "", unix.MS_BIND, ""); err != nil {
			m.t.Fatal(err)
		}
		return nil
	case "a mount":
		m.object(e.Target, "empty", c.kind, "")
		m.object(filepath.Dir(e.Target)+"/other", "present", c.kind, "data-that-is-mounted")
		if err := unix.Mount(m.path(filepath.Dir(e.Target)+"/other"), m.path(e.Target), "", unix.MS_BIND, ""); err != nil {
			m.t.Fatal(err)
		}
		return []string{"data-that-is-mounted"}
	}
	return m.object(e.Target, c.target, c.kind, "data-of-the-place")
}

// otherData is as long as what a source holds.
const otherData = "other-data-as-long"

// stamp gives all files at or below the paths one time.
func (m *machine) stamp(paths ...string) {
	m.t.Helper()
	when := time.Unix(1, 0)
	for _, p := range paths {
		err := filepath.WalkDir(m.path(p), func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(path, when, when))
		})
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// setUpSeeded makes the source from what is in the place, then puts something else of the same sizes and times there.
func (m *machine) setUpSeeded(c outcomeCase, e Entry) []string {
	m.t.Helper()
	if err := os.RemoveAll(m.path(e.Source)); err != nil {
		m.t.Fatal(err)
	}
	m.object(e.Target, "present", c.kind, "data-of-the-source")
	m.stamp(e.Target)
	seeded := e
	seeded.Method = Bind
	m.apply(seeded)
	btrfstest.Unmount(m.t, m.path(e.Target))
	tokens := m.object(e.Target, "present", c.kind, otherData)
	m.stamp(e.Target)
	return tokens
}

// shows says what stands in a place.
func (m *machine) shows(p string) string {
	info, err := os.Lstat(m.path(p))
	if err != nil {
		return "absent"
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		text, _ := os.Readlink(m.path(p))
		return "a symlink to " + strings.Replace(text, filepath.Dir(p), "", 1)
	}
	found := m.tokensBelow(p)
	if found == "" {
		found = "nothing"
	}
	what := "a file with "
	if info.IsDir() {
		what = "a directory with "
	}
	return what + found
}

// tokensBelow gives all content below a path.
func (m *machine) tokensBelow(p string) string {
	var found []string
	_ = filepath.WalkDir(m.path(p), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what is not there holds nothing
		}
		if d.Type()&fs.ModeSymlink != 0 {
			text, _ := os.Readlink(path)
			found = append(found, text)
		}
		if d.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			found = append(found, string(data))
		}
		return nil
	})
	return strings.Trim(strings.Join(found, " "), " ")
}

// wantReachable fails when something that existed before is neither in the root nor on the volume.
func (m *machine) wantReachable(c outcomeCase, dir string, tokens []string) {
	m.t.Helper()
	found := m.tokensBelow(dir) + " " + m.tokensBelow("/persist"+dir)
	for _, token := range tokens {
		if !strings.Contains(found, token) {
			m.t.Errorf("%+v: lost %q, found %q", c, token, found)
		}
	}
}
