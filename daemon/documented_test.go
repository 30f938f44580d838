package daemon_test

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

var quoted = regexp.MustCompile(`"([A-Za-z-]+)"`)

// documentedWords are the words in quotes in the comment of a property in the XML.
func documentedWords(t testing.TB, iface, property string) []string {
	t.Helper()
	text, err := fs.ReadFile(dbus.InterfaceFiles(), "org.impermanence1."+iface+".xml")
	must(t, err)
	_, comment, found := strings.Cut(string(text), "      "+property+":\n")
	comment, _, closed := strings.Cut(comment, "-->")
	if !found || !closed {
		t.Fatalf("%s.%s has no comment", iface, property)
	}
	var words []string
	for _, match := range quoted.FindAllStringSubmatch(comment, -1) {
		words = append(words, match[1])
	}
	return words
}

// wantDocumented wants that whoever reads the XML knows these values, or keys, of a property.
func wantDocumented(t testing.TB, iface, property string, words ...string) {
	t.Helper()
	known := documentedWords(t, iface, property)
	for _, word := range words {
		if !slices.Contains(known, word) {
			t.Errorf("%s.%s: %q is not among what is documented: %q", iface, property, word, known)
		}
	}
}

// Values and keys that no other test comes upon are documented, too.
func TestValuesAreDocumented(t *testing.T) {
	for _, o := range []btrfsops.Outcome{
		btrfsops.OutcomeFresh, btrfsops.OutcomeRestored, btrfsops.OutcomeKept, btrfsops.OutcomeSkipped, btrfsops.OutcomeFailed,
	} {
		wantDocumented(t, "Manager", "LastRollover", string(o))
	}
	wantDocumented(t, "Manager", "LastRollover", "reason", "error", "source", "recovered")
	for _, s := range []persist.State{persist.InPlace, persist.Missing, persist.Conflict, persist.Drifted, persist.Failed} {
		wantDocumented(t, "Entry", "State", s.String())
	}
	wantDocumented(t, "Entry", "State", daemon.StateNextBoot)
	for _, k := range []persist.Kind{persist.Directory, persist.File} {
		wantDocumented(t, "Entry", "Kind", k.String())
	}
	for _, m := range []persist.Method{persist.Auto, persist.Bind, persist.Symlink, persist.Copy} {
		wantDocumented(t, "Entry", "Method", m.String())
	}
}

// The manual page tells how many jobs there may be.
func TestLimitsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../dbus/org.impermanence1.5")
	must(t, err)
	want := fmt.Sprintf("A connection may have %d jobs that have not ended, all together may have %d.", jobs.DefaultPerSender, jobs.DefaultActive)
	if !strings.Contains(string(page), want) {
		t.Errorf("org.impermanence1(5) does not say %q", want)
	}
}
