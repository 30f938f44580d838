package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

// terminal returns an output to a terminal of some width, without colors, and what was printed to it.
func terminal(width int) (output, *strings.Builder) {
	var b strings.Builder
	return output{w: &b, terminal: true, control: true, width: width}, &b
}

// elsewhere returns an output that is no terminal, and what was printed to it.
func elsewhere() (output, *strings.Builder) {
	var b strings.Builder
	return output{w: &b}, &b
}

func TestTextEscapesWhatATerminalWouldActOn(t *testing.T) {
	utf8, _ := elsewhere()
	ascii := output{ascii: true}
	for _, test := range []struct {
		name, in, want, wantASCII string
	}{
		{"plain", "before the upgrade", "before the upgrade", "before the upgrade"},
		{"letters", "Größe 大", "Größe 大", `Gr\u00f6\u00dfe \u5927`},
		{"control sequence", "a\x1b[31mb", `a\x1b[31mb`, `a\x1b[31mb`},
		{"new line and tab", "a\nb\tc", `a\nb\tc`, `a\nb\tc`},
		{"C1 control", "a\u009bb", `a\u009bb`, `a\u009bb`},
		{"turns the direction", "a\u202eb", `a\u202eb`, `a\u202eb`},
		{"shows nothing", "a\u200bb", `a\u200bb`, `a\u200bb`},
		{"not UTF-8", "a\xffb", `a\xffb`, `a\xffb`},
		{"replacement character", "a\ufffdb", "a\ufffdb", `a\ufffdb`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := utf8.text(test.in); got != test.want {
				t.Errorf("text(%q) = %q, want %q", test.in, got, test.want)
			}
			if got := ascii.text(test.in); got != test.wantASCII {
				t.Errorf("in an ASCII locale text(%q) = %q, want %q", test.in, got, test.wantASCII)
			}
		})
	}
}

var (
	testColumns = []column{
		{heading: "NAME"},
		{heading: "SIZE", right: true, drop: 1},
		{heading: "EMPTY", drop: 1},
		{heading: "LABEL", drop: 2, cut: true},
	}
	testRows = [][]cell{
		{{text: "20261123T075400Z-257"}, {text: "1.0 KiB"}, {}, {text: "vor dem großen Umbau 大大"}},
		{{text: "b"}, {text: "900.0 MiB"}, {}, {text: "x"}},
	}
)

func TestTableFitsTheTerminal(t *testing.T) {
	for _, test := range []struct {
		name  string
		width int
		want  string
	}{
		{"unlimited", 0, `
NAME                       SIZE  LABEL
20261123T075400Z-257    1.0 KiB  vor dem großen Umbau 大大
b                     900.0 MiB  x
`},
		{"cut", 50, `
NAME                       SIZE  LABEL
20261123T075400Z-257    1.0 KiB  vor dem großen U…
b                     900.0 MiB  x
`},
		{"a column less", 45, `
NAME                       SIZE
20261123T075400Z-257    1.0 KiB
b                     900.0 MiB
`},
		{"names are never cut", 8, `
NAME
20261123T075400Z-257
b
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, b := terminal(test.width)
			o.table(testColumns, testRows)
			if diff := cmp.Diff(test.want, "\n"+b.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReasonsWrapBesideOrStandBelow(t *testing.T) {
	columns := []column{{heading: "NAME"}, {heading: "REASON", wrap: true}}
	rows := [][]cell{{{text: "20261123T075400Z-257"}, {text: "pinned; within 30d; last"}}, {{text: "b"}, {}}}
	for _, test := range []struct {
		width int
		want  string
	}{
		{0, `
NAME                  REASON
20261123T075400Z-257  pinned; within 30d; last
b
`},
		{40, `
NAME                  REASON
20261123T075400Z-257  pinned; within
                      30d; last
b
`},
		{30, `
NAME
20261123T075400Z-257
    pinned; within 30d; last
b
`},
	} {
		o, b := terminal(test.width)
		o.table(columns, rows)
		if diff := cmp.Diff(test.want, "\n"+b.String()); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", test.width, diff)
		}
	}
}

func TestTableElsewhereHasAllColumnsAndNoHeadings(t *testing.T) {
	o, b := elsewhere()
	o.table(testColumns, testRows)
	want := "20261123T075400Z-257\t1.0 KiB\t\tvor dem großen Umbau 大大\nb\t900.0 MiB\t\tx\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestColorsDoNotDisturbColumns(t *testing.T) {
	o, b := terminal(80)
	o.color = true
	o.table([]column{{heading: "A"}, {heading: "B"}}, [][]cell{{{"x", red}, {text: "y"}}, {{text: "long"}, {text: "y"}}})
	want := "\x1b[2mA\x1b[0m     \x1b[2mB\x1b[0m\n\x1b[31mx\x1b[0m     y\nlong  y\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestTopicWrapsAtSpaces(t *testing.T) {
	o, b := terminal(34)
	o.topic(cell{text: "old roots"}, cell{text: "5 old roots, 2 snapshots, /a/path/that/is/longer"}, cell{text: "second"})
	want := `
old roots   5 old roots, 2
            snapshots,
            /a/path/that/is/longer
            second
`
	if diff := cmp.Diff(want, "\n"+b.String()); diff != "" {
		t.Errorf("topic (-want +got):\n%s", diff)
	}
}

func TestProgressLine(t *testing.T) {
	job := dbus.Job{
		Operation: "prune", Progress: 0.25, ProgressValid: true, ItemsDone: 25, ItemsTotal: 100,
		Stage: "20261123T075400Z-257",
	}
	for _, test := range []struct {
		name  string
		width int
		job   dbus.Job
		want  string
	}{
		{"all is known", 100, job, "prune  [#####------------------]   25%  25/100  5.0/s  15 s left  20261123T075400Z-257"},
		{"narrow", 40, job, "prune  [##------]   25%  25/100  5.0/s…"},
		{"nothing is known", 40, dbus.Job{Operation: "prune"}, "prune"},
		{"a name that draws", 40, dbus.Job{Operation: "prune", Stage: "\x1b[2J"}, `prune  \x1b[2J`},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, _ := terminal(test.width)
			if got := o.progressLine(test.job, 5*time.Second); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestProgressIsDrawnOnlyForAPersonWhoWaits(t *testing.T) {
	now := time.Unix(0, 0)
	clock := func() time.Time { return now }
	for _, test := range []struct {
		name     string
		terminal bool
		after    time.Duration
		want     string
	}{
		{"on a terminal", true, 2 * patience, "\rprune\x1b[K\r\x1b[K"},
		{"a short job", true, patience / 2, ""},
		{"elsewhere", false, 2 * patience, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, b := elsewhere()
			if test.terminal {
				o, b = terminal(80)
			}
			p := newProgress(o, clock)
			now = now.Add(test.after)
			p.update(dbus.Job{Operation: "prune"})
			p.clear()
			if got := b.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLocaleDecidesOnCharacters(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{}, false},
		{map[string]string{"LANG": "en_US.UTF-8"}, true},
		{map[string]string{"LANG": "C.utf8"}, true},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE.ISO-8859-1"}, false},
	} {
		if got := utf8Locale(func(name string) string { return test.env[name] }); got != test.want {
			t.Errorf("%v: UTF-8 is %t, want %t", test.env, got, test.want)
		}
	}
}
