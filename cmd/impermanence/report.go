package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// reportCommand collects what a bug report needs.
func (a *app) reportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Collect what a bug report needs, without secrets",
		Long: `Collect what a bug report needs, ready to be pasted: versions, what happened at
this boot, what is wrong, old roots, entries, mounts, units, and what the units
of the project have logged. Without a daemon there is less of it.

Left out are labels of snapshots, all of the kernel command line that the
project does not read, and what is in files. Names of people, this machine and
file systems are replaced by others, the same name by the same.`,
		Example: `  sudo impermanence report
  sudo impermanence report | less`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := a.collect(cmd.Context(), "/")
			if a.json {
				return a.stdout.document(reportDocument{Sections: r})
			}
			for _, s := range r {
				a.stdout.line("## %s\n\n```\n%s\n```\n", s.Title, s.Text)
			}
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// reportDocument is what --json prints.
type reportDocument struct {
	Sections []section `json:"sections"`
}

// section is a part of a report.
type section struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// collect makes the report of the system below a directory. What can't be had is said in its place.
func (a *app) collect(ctx context.Context, system string) []section {
	s, err := a.reportedState(ctx)
	clean := newScrubber(hostName(system), s)
	daemon := "not known: " + fmt.Sprint(err)
	if err == nil {
		daemon = s.manager.Version
	}
	sections := []section{
		{"Versions", lines(
			"impermanence  "+version,
			"daemon        "+daemon,
			"kernel        "+firstLine(system, "proc/sys/kernel/osrelease")+" "+runtime.GOARCH,
			"system        "+osName(system))},
		{"Kernel command line, as far as it is read", kernelParameters(firstLine(system, "proc/cmdline"))},
	}
	if err == nil {
		sections = append(sections, s.sections()...)
	}
	sections = append(sections,
		section{"btrfs mounts", btrfsMounts(system)},
		section{"Units", printed(ctx, "systemctl", append([]string{"show", "--property=Id,ActiveState,SubState,Result,NRestarts"}, unitNames()...)...)},
		section{"Journal of this boot", printed(ctx, "journalctl", append([]string{"--boot", "--output=short-monotonic", "--no-hostname", "--lines=100", "--quiet"}, unitArguments()...)...)})
	for i := range sections {
		sections[i].Text = clean.text(sections[i].Text)
	}
	return sections
}

// reportedState asks the daemon; where none is to be had root has one of its own.
func (a *app) reportedState(ctx context.Context) (*state, error) {
	s, err := a.state(ctx)
	if err == nil || a.direct.noBus || os.Geteuid() != 0 {
		return s, err
	}
	a.close()
	a.client, a.own, a.direct.noBus = nil, nil, true
	own, ownErr := a.state(ctx)
	if ownErr != nil {
		return nil, fmt.Errorf("%w; without a bus: %w", err, ownErr)
	}
	own.manager.Version += " (without a bus: " + err.Error() + ")"
	return own, nil
}

// sections are what the daemon knows.
func (s *state) sections() []section {
	var status, roots, entries strings.Builder
	output{w: &status}.status(s, time.Now())
	for _, r := range s.roots {
		fmt.Fprintf(&roots, "%s\t%d\t%s\t%s\n", r.Name, r.ID, r.Kind, strings.Join(r.ProtectReasons, ","))
	}
	for _, e := range s.entries {
		fmt.Fprintf(&entries, "%s\t%s\t%s\t%s\t%s\n", e.Target, e.Source, e.Method, e.State, e.LastError.Message)
	}
	return []section{{"Status", status.String()}, {"Old roots", roots.String()}, {"Entries", entries.String()}}
}

// kernelParameters returns those parameters of a command line that the project reads, or that say where the root is.
// Others may hold passwords.
func kernelParameters(cmdline string) string {
	known := []string{"root", "rootflags", "rootfstype", "ro", "rw", "resume", "resume_offset", "noresume", "impermanence"}
	var shown []string
	for word := range strings.FieldsSeq(cmdline) {
		key, _, _ := strings.Cut(word, "=")
		if slices.Contains(known, key) || strings.HasPrefix(key, "impermanence.") {
			shown = append(shown, word)
		}
	}
	return strings.Join(shown, " ")
}

// btrfsMounts are the lines of the mount table that are about btrfs.
func btrfsMounts(system string) string {
	data, err := os.ReadFile(filepath.Join(system, "proc/self/mountinfo"))
	if err != nil {
		return err.Error()
	}
	var shown []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, " - btrfs ") {
			shown = append(shown, strings.TrimSpace(line))
		}
	}
	return strings.Join(shown, "\n")
}

func hostName(system string) string { return firstLine(system, "proc/sys/kernel/hostname") }

func osName(system string) string {
	data, _ := os.ReadFile(filepath.Join(system, "etc/os-release")) // without it the name is empty
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return ""
}

// firstLine returns the first line of a file, or why there is none.
func firstLine(system, path string) string {
	data, err := os.ReadFile(filepath.Join(system, path))
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

func lines(all ...string) string { return strings.Join(all, "\n") }

// unitNames are the units of the project, early boot's first.
func unitNames() []string {
	return []string{
		"impermanence-rollover.service", "impermanence-initrd-persist.service", "impermanence-persist.service",
		"impermanence-top.service", "impermanenced.service", "impermanence-prune.timer", "impermanence-prune.service",
		"impermanence-copy-back.service", "impermanence-copy-last.service",
	}
}

func unitArguments() []string {
	var arguments []string
	for _, name := range unitNames() {
		arguments = append(arguments, "--unit="+name)
	}
	return arguments
}

// printed returns what a program prints, and why it failed.
func printed(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return strings.TrimSpace(text + "\n" + name + ": " + err.Error())
	}
	return text
}
