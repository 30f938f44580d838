package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writes keeps what is written, one a write.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestLoggerWritesWhatItsReaderTakes(t *testing.T) {
	for to, want := range map[reader]writes{
		person:    {"impermanence: error: /a: busy\n/b: gone\n", "impermanence: 2 entries\n"},
		journal:   {"<3>error: /a: busy\n", "<3>/b: gone\n", "<6>2 entries\n"},
		kernelLog: {"<3>impermanence: error: /a: busy\n/b: gone\n", "<6>impermanence: 2 entries\n"},
	} {
		var got writes
		log := newLogger(&got, to)
		log.error("%v", "/a: busy\n/b: gone")
		log.info("%d entries", 2)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("for reader %d (-want +got):\n%s", to, diff)
		}
	}
}

// A write of more than 976 bytes is refused by /dev/kmsg of Debian 12, and all of the message lost.
func TestNothingIsTooLongForTheKernelsLog(t *testing.T) {
	var lines []string
	for i := range 50 {
		lines = append(lines, fmt.Sprintf("/home/demo/entry-%d: %s", i, strings.Repeat("x", 10*i)))
	}
	lines = append(lines, strings.Repeat("y", 3000))
	var got writes
	newLogger(&got, kernelLog).error("%s", strings.Join(lines, "\n"))
	all := ""
	for _, message := range got {
		text, named := strings.CutPrefix(message, "<3>impermanence: ")
		if len(message) > 976 || !named {
			t.Errorf("%d bytes: %.40q", len(message), message)
		}
		all += text
	}
	flat := strings.NewReplacer("\n", "").Replace
	if diff := cmp.Diff("error: "+flat(strings.Join(lines, "\n")), flat(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, line := range lines[:50] {
		if !strings.Contains(all, line+"\n") {
			t.Errorf("cut in two: %s", line)
		}
	}
}

func TestWhoReadsStandardError(t *testing.T) {
	for name, want := range map[string]reader{"/dev/kmsg": kernelLog, "/dev/null": person} {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		t.Setenv("JOURNAL_STREAM", "")
		if got := readerOf(f); got != want {
			t.Errorf("%s: reader %d", name, got)
		}
		t.Setenv("JOURNAL_STREAM", "8:1")
		if got := readerOf(f); got != max(want, journal) {
			t.Errorf("%s, in a service: reader %d", name, got)
		}
	}
}
