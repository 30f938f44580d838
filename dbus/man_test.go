package dbus

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/test/bustest"
)

const manPage = "org.impermanence1.5"

// TestManPage holds the manual page against what it is made from.
func TestManPage(t *testing.T) {
	made := man(t)
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(manPage, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(text(t, manPage), made); diff != "" {
		t.Errorf("%s is out of date (go test ./dbus -run TestManPage -update makes it anew): %s", manPage, diff)
	}
	out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", manPage).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "missing date") { // it would be the page's, not the interface's
			t.Error(line)
		}
	}
}

// TestHistory holds that what was released stays as it was, and that what is new is noted.
func TestHistory(t *testing.T) {
	var now []string
	for _, i := range documentedInOrder(t) {
		for _, line := range members(i) {
			now = append(now, i.Name+"."+line)
		}
	}
	var released []string
	for _, line := range history(t) {
		released = append(released, line.member)
	}
	slices.Sort(now)
	slices.Sort(released)
	if diff := cmp.Diff(released, now); diff != "" {
		t.Errorf("testdata/history.txt: - was released and must stay, + is new and must be noted: %s", diff)
	}
}

type historyLine struct{ release, member string }

// history is which release brought which member, with its types.
func history(t testing.TB) []historyLine {
	t.Helper()
	var lines []historyLine
	for line := range strings.Lines(text(t, "testdata/history.txt")) {
		release, member, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			t.Fatalf("testdata/history.txt: %q", line)
		}
		lines = append(lines, historyLine{release, member})
	}
	return lines
}

// members are the members of an interface with their types.
func members(i xmlInterface) []string {
	var lines []string
	for _, m := range i.Methods {
		lines = append(lines, fmt.Sprintf("%s(%s) → (%s)", m.Name, m.signature("in"), m.signature("out")))
	}
	for _, s := range i.Signals {
		lines = append(lines, fmt.Sprintf("%s: signal (%s)", s.Name, s.signature("")))
	}
	for _, p := range i.Properties {
		lines = append(lines, fmt.Sprintf("%s: %s %s", p.Name, p.Access, p.Type))
	}
	return lines
}

// documentedInOrder are our interfaces as the manual page has them.
func documentedInOrder(t testing.TB) []xmlInterface {
	t.Helper()
	all := documented(t)
	return []xmlInterface{all[managerInterface], all[rootInterface], all[entryInterface], all[jobInterface], all[logInterface]}
}

func text(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// page is a manual page that is being written.
type page struct {
	t testing.TB
	strings.Builder
}

func man(t testing.TB) string {
	t.Helper()
	p := &page{t: t}
	p.WriteString(text(t, "testdata/man/head.5"))
	for _, i := range documentedInOrder(t) {
		p.face(i)
	}
	p.errors()
	p.authorization()
	p.WriteString(text(t, "testdata/man/tail.5"))
	p.history()
	p.WriteString(text(t, "testdata/man/foot.5"))
	return p.String()
}

// line writes a line of text, with what roff would take for something else escaped.
func (p *page) line(format string, args ...any) {
	s := strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(fmt.Sprintf(format, args...))
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	p.WriteString(s + "\n")
}

func (p *page) macro(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

var comment = regexp.MustCompile(`(?s)<!--\n(.*?)-->`)

// comments are the comments of an interface's file by what they are about.
func (p *page) comments(name string) map[string]string {
	data, err := fs.ReadFile(InterfaceFiles(), name+".xml")
	if err != nil {
		p.t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range comment.FindAllStringSubmatch(string(data), -1) {
		about, rest, _ := strings.Cut(strings.TrimSpace(m[1]), ":\n")
		found[about] = rest
	}
	return found
}

func (p *page) face(i xmlInterface) {
	comments := p.comments(i.Name)
	p.macro(".SH %s", strings.ToUpper(i.Name[strings.LastIndex(i.Name, ".")+1:]))
	p.line("Interface %s.", i.Name)
	p.macro(".PP")
	p.comment(comments[i.Name])
	for _, m := range i.Methods {
		p.member(m, "", comments[m.Name])
	}
	for _, s := range i.Signals {
		p.member(s, "signal ", comments[s.Name])
	}
	for _, prop := range i.Properties {
		p.macro(".SS %s", prop.Name)
		what := map[string]string{"read": "Property", "readwrite": "Property that can be set"}[prop.Access]
		how := map[emission]string{
			emitsConst: "; never changes", emitsInvalidates: "; a change is told without the value", emitsNothing: "; changes are not told",
		}[prop.emits()]
		p.line("%s of type %s%s.", what, prop.Type, how)
		p.macro(".PP")
		p.comment(comments[prop.Name])
	}
}

func (p *page) member(m xmlMember, kind, doc string) {
	p.macro(".SS %s", m.Name)
	arguments := func(direction string) string {
		var list []string
		for _, a := range m.Args {
			if a.Direction == direction {
				list = append(list, a.Type+" "+a.Name)
			}
		}
		return "(" + strings.Join(list, ", ") + ")"
	}
	if kind == "" {
		p.line("%s%s → %s", m.Name, arguments("in"), arguments("out"))
	} else {
		p.line("%s%s%s", kind, m.Name, arguments(""))
	}
	p.comment(doc)
}

// comment writes a comment: its arguments as a list, then its paragraphs.
func (p *page) comment(doc string) {
	var paragraphs []string
	for paragraph := range strings.SplitSeq(doc, "\n\n") {
		var plain []string
		for line := range strings.Lines(paragraph) {
			line = strings.TrimSpace(line)
			if rest, ok := strings.CutPrefix(line, "@"); ok {
				name, what, _ := strings.Cut(rest, ": ")
				if name != "short_description" {
					p.macro(".TP")
					p.macro(".I %s", name)
				}
				p.line("%s", what)
				continue
			}
			plain = append(plain, line)
		}
		if joined := strings.TrimSpace(strings.Join(plain, "\n")); joined != "" {
			paragraphs = append(paragraphs, joined)
		}
	}
	for i, paragraph := range paragraphs {
		if i > 0 || strings.Contains(doc, "@") {
			p.macro(".PP")
		}
		for line := range strings.Lines(paragraph) {
			p.line("%s", strings.TrimSpace(line))
		}
	}
}

// errors writes the table of errors, of which each must be explained.
func (p *page) errors() {
	explained := map[string]string{}
	for line := range strings.Lines(text(p.t, "testdata/man/errors.txt")) {
		name, what, _ := strings.Cut(strings.TrimSpace(line), "\t")
		explained[name] = what
	}
	p.macro(".SH ERRORS")
	p.line("An error has a text for people, too.")
	for _, err := range Sentinels() {
		name := InfoOf(err).Name
		if explained[name] == "" {
			p.t.Errorf("testdata/man/errors.txt doesn't explain %s", name)
		}
		p.macro(".TP")
		p.macro(".B %s", name)
		p.line("%s", explained[name])
		delete(explained, name)
	}
	for name := range explained {
		p.t.Errorf("testdata/man/errors.txt explains %s, which is no error", name)
	}
}

// authorization writes the actions of polkit, as its file has them.
func (p *page) authorization() {
	var policy struct {
		Actions []struct {
			ID          string `xml:"id,attr"`
			Description string `xml:"description"`
			Active      string `xml:"defaults>allow_active"`
		} `xml:"action"`
	}
	if err := xml.Unmarshal([]byte(text(p.t, bustest.Unit(p.t, "org.impermanence1.policy"))), &policy); err != nil {
		p.t.Fatal(err)
	}
	p.macro(".SH AUTHORIZATION")
	p.line("Anyone may read and wait. Root may do everything. Everyone else is allowed what")
	p.macro(".BR polkit (8)")
	p.line("allows; unless it is told otherwise that takes an administrator's password, asked for when the call allows interaction.")
	p.line("A call that would be refused anyway is refused before anyone is asked.")
	for _, a := range policy.Actions {
		p.macro(".TP")
		p.macro(".B %s", a.ID)
		password := map[string]string{
			"auth_admin": "with a password each time", "auth_admin_keep": "with a password, which holds for a while", "yes": "without a password at the console",
		}[a.Active]
		p.line("%s: %s.", a.Description, password)
	}
}

// history writes which release brought what.
func (p *page) history() {
	p.macro(".SH HISTORY")
	release := ""
	for _, line := range history(p.t) {
		if line.release != release {
			release = line.release
			p.line("With the %s release came:", release)
		}
		p.macro(".br")
		p.line("%s", line.member)
	}
}
