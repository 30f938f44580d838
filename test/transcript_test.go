package test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the demo prints into README.md")

const readme = "../README.md"

// readmeShows are the commands of the demo that README.md shows, in their order, with how many lines of what each prints; a
// comment stands before its command.
var readmeShows = []struct {
	command string
	lines   int
}{
	{"impermanence-initrd rollover", 2},
	{"ls /mnt/root/opt/stray", 1},
	{"find /mnt/top/old_roots -name stray", 1},
	{"impermanence status", 7},
	{"impermanence restore", 1},
	{"impermanence diff /srv/notes", 1},
	{"impermanence persist /srv", 1},
	{"impermanence prune --dry-run", 2},
}

// transcript returns what README.md shows of what the demo has printed: some commands, and the table at its end.
func transcript(t *testing.T, printed string) string {
	t.Helper()
	lines := strings.SplitAfter(printed, "\n")
	var shown strings.Builder
	at := 0
	for _, show := range readmeShows {
		from := at
		for at < len(lines) && !strings.HasPrefix(lines[at], "$ "+show.command) {
			at++
		}
		if at == len(lines) {
			t.Fatalf("the demo does not run %q after what README.md shows before", show.command)
		}
		if at > from && from > 0 {
			shown.WriteString("…\n")
		}
		if strings.HasPrefix(lines[at-1], "# ") {
			shown.WriteString(lines[at-1])
		}
		for range show.lines + 1 {
			shown.WriteString(lines[at])
			at++
		}
	}
	_, table, _ := strings.Cut(printed, "\n== What was shown ==\n")
	return shown.String() + "…\n== What was shown ==\n" + table
}

// checkReadme holds the transcript in README.md against what the demo printed, but for dates, ids and lengths of time; or
// writes it there, which `make docs` does.
func checkReadme(t *testing.T, printed string) {
	t.Helper()
	want := transcript(t, printed)
	before, rest, found := strings.Cut(readFile(t, readme), "```\n$ ")
	have, after, closed := strings.Cut("$ "+rest, "```\n")
	if !found || !closed {
		t.Fatal("README.md has no transcript")
	}
	if *update {
		if err := os.WriteFile(readme, []byte(before+"```\n"+want+"```\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	// A duration has its unit in it: what takes 1 ms here takes 900 µs on a faster machine.
	changing := regexp.MustCompile(`[0-9][0-9TZ:.-]*( ?(µs|ms|s)\b)?`)
	if diff := cmp.Diff(changing.ReplaceAllString(want, "N"), changing.ReplaceAllString(have, "N")); diff != "" {
		t.Errorf("README.md (-demo +README.md); `sudo make docs` makes it anew:\n%s", diff)
	}
}
