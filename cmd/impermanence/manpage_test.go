package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// page is what the man page says of the command line.
type page struct {
	commands []string            // their usage, in order
	options  map[string][]string // by usage: each option with its value and its text
}

var (
	roffFont   = regexp.MustCompile(`\\f[BIRP]`)
	roffEscape = strings.NewReplacer(`\-`, "-", `\&`, "")
)

// readPage reads the section COMMANDS of the man page.
func readPage(t *testing.T) page {
	t.Helper()
	data, err := os.ReadFile("impermanence.1")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "\n.SH COMMANDS\n")
	text, _, _ = strings.Cut(text, "\n.SH ")
	p := page{options: map[string][]string{}}
	lines := strings.Split(roffEscape.Replace(roffFont.ReplaceAllString(text, "")), "\n")
	for i, line := range lines {
		if use, ok := strings.CutPrefix(line, ".SS "); ok {
			p.commands = append(p.commands, use)
		}
		if line == ".TP" {
			use := p.commands[len(p.commands)-1]
			p.options[use] = append(p.options[use], lines[i+1]+": "+lines[i+2])
		}
	}
	return p
}

// sentence returns the text of an option as the man page has it.
func sentence(text string) string {
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// commandOptions returns the options of a command as the man page has them.
func commandOptions(cmd *cobra.Command) []string {
	var options []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		options = append(options, strings.TrimSpace("--"+f.Name+" "+value)+": "+sentence(text))
	})
	return options
}

func TestManPageHasEveryCommandAndOption(t *testing.T) {
	p := readPage(t)
	var commands []string
	root := (&app{}).command()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Hidden {
			continue
		}
		commands = append(commands, cmd.Use)
		if diff := cmp.Diff(commandOptions(cmd), p.options[cmd.Use]); diff != "" {
			t.Errorf("options of %s (-there +man page):\n%s", cmd.Name(), diff)
		}
	}
	slices.Sort(commands)
	slices.Sort(p.commands)
	if diff := cmp.Diff(commands, p.commands); diff != "" {
		t.Errorf("commands (-there +man page):\n%s", diff)
	}
}

func TestManPageIsRight(t *testing.T) {
	out, err := exec.Command("man", "--warnings", "--encoding=UTF-8", "--local-file", "impermanence.1").CombinedOutput()
	if err != nil {
		t.Fatalf("man: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "warning:") || !strings.Contains(string(out), "EXIT STATUS") {
		t.Errorf("man prints:\n%s", out)
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	for _, cmd := range (&app{}).command().Commands() {
		for line := range strings.SplitSeq(cmd.Long+"\n"+cmd.Example, "\n") {
			if len(line) > defaultWidth {
				t.Errorf("%s: a line of the help is wider than %d columns: %q", cmd.Name(), defaultWidth, line)
			}
		}
		if cmd.Short == "" || cmd.Name() != "help" && cmd.Long == "" {
			t.Errorf("%s has no help", cmd.Name())
		}
	}
}
