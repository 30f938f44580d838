package main

import (
	"os"
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

func TestManPageHasEveryOptionOfAllCommands(t *testing.T) {
	data, err := os.ReadFile("impermanence.1")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "\n.SH OPTIONS\n")
	text, _, _ = strings.Cut(text, "\n.SH ")
	text = roffEscape.Replace(roffFont.ReplaceAllString(text, ""))
	root := (&app{}).command()
	root.Flags().AddFlagSet(root.PersistentFlags())
	root.Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, "--"+f.Name) {
			t.Errorf("the section OPTIONS does not have --%s", f.Name)
		}
	})
}

func TestManPageHasEveryExitCode(t *testing.T) {
	page, err := os.ReadFile("impermanence.1")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("exit.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`exit\w+ += (\d) // (.*)`).FindAllStringSubmatch(string(source), -1)
	if len(codes) != 5 {
		t.Fatalf("found %d exit codes in exit.go", len(codes))
	}
	for _, code := range codes {
		if entry := ".TP\n.B " + code[1] + "\n" + sentence(code[2]) + "\n"; !strings.Contains(string(page), entry) {
			t.Errorf("the man page does not say:\n%s", entry)
		}
	}
}

// TestExamplesAreAccepted holds the examples of the help and the man page against the commands and options there are.
func TestExamplesAreAccepted(t *testing.T) {
	page, err := os.ReadFile("impermanence.1")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(roffEscape.Replace(string(page)), "\n.SH EXAMPLES\n")
	for _, cmd := range append((&app{}).command().Commands(), (&app{}).command()) {
		text += cmd.Example + "\n"
	}
	examples := regexp.MustCompile(`(?m)(?:^ *|[(]|sudo )impermanence ((?:"[^"]*"|[^"|)\n])*)`).FindAllStringSubmatch(text, -1)
	if len(examples) < 15 {
		t.Fatalf("found only %d examples", len(examples))
	}
	for _, example := range examples {
		line, _, _ := strings.Cut(example[1], "  ") // what follows explains it
		var words []string
		for _, word := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
			words = append(words, strings.Trim(word, `"`))
		}
		cmd, rest, err := (&app{}).command().Find(words)
		if err != nil || !cmd.HasParent() {
			t.Errorf("impermanence %s: no such command", line)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("impermanence %s: %v", line, err)
		}
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("impermanence %s: %v", line, err)
		}
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
