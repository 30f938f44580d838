package retention_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/impermanence/impermanence/daemon/retention"
)

var update = flag.Bool("update", false, "write the plans into testdata/cases")

// TestCases holds plans against golden files that a person can read: testdata/cases/*.txtar.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runCase(t, archive)
			if *update {
				setSection(archive, "plan", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(section(t, archive, "plan"), got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func runCase(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	var now time.Time
	free := ^uint64(0)
	for _, line := range strings.Split(strings.TrimSpace(section(t, archive, "facts")), "\n") {
		switch key, value, _ := strings.Cut(line, " "); key {
		case "now":
			now = parseTime(t, value)
		case "free":
			free = uint64(parseNumber(t, value))
		default:
			t.Fatalf("facts: unknown key %q", key)
		}
	}
	roots := parseRoots(t, section(t, archive, "roots"))
	return format(retention.Plan(roots, parsePolicy(t, section(t, archive, "policy")), now, free))
}

func section(t *testing.T, archive *txtar.Archive, name string) string {
	t.Helper()
	i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no section %q", name)
	}
	return string(archive.Files[i].Data)
}

func setSection(archive *txtar.Archive, name, data string) {
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(data)
			return
		}
	}
}

// TestRestic runs the policies that restic publishes with its own tests, over the same times, and expects what restic
// keeps.
func TestRestic(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/restic.txtar")
	if err != nil {
		t.Fatal(err)
	}
	roots := parseRoots(t, section(t, archive, "roots"))
	now := parseTime(t, "2016-01-20T00:00:00Z")
	for _, file := range archive.Files[1:] {
		t.Run(file.Name, func(t *testing.T) {
			var kept []string
			for _, d := range retention.Plan(roots, parsePolicy(t, file.Name), now, 0) {
				if !d.Remove {
					kept = append(kept, d.Root.Time.Format(time.RFC3339Nano))
				}
			}
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(file.Data)), "\n"), kept); diff != "" {
				t.Errorf("kept (-restic +ours):\n%s", diff)
			}
		})
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		30 * 24 * time.Hour: "30d", 36 * time.Hour: "1d12h", 5 * time.Hour: "5h", 90 * time.Minute: "1h30m0s", 0: "0s",
	} {
		if got := retention.FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}
