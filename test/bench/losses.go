package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// lossRows find what has changed in a root of 300,000 files, or that all of it is new: right after the file system was
// mounted (cold), and when it was done once before (warm).
func lossRows(s *stage) []row {
	all := []contender{
		{"impermanence diff", s.ourDiff(withTemplate)},
		{"snapper status", s.snapperStatus},
		{"btrfs send | receive --dump", s.sendDump},
		{"btrfs subvolume find-new (data only)", s.findNew},
		{"find -cnewer (nothing deleted)", s.findNewer},
		{"rsync --dry-run", s.rsyncDryRun},
		{"limit: the tree search in a loop", s.bareSearch},
	}
	var warmed []contender
	for _, c := range all {
		warmed = append(warmed, contender{c.name, warm(c.prepare)})
	}
	var rows []row
	for _, changed := range []int{100, 10_000} {
		name := fmt.Sprintf("losses, %d changed of %d files", changed, files)
		fill := withChanges(changed)
		rows = append(rows, row{name: name + ", cold", fill: fill, contenders: all}, row{name: name + ", warm", fill: fill, contenders: warmed},
			row{name: name + ", workers, warm", fill: fill, contenders: []contender{
				{"comparison by two workers", warm(s.comparison("template", 2))},
				{"comparison by one worker", warm(s.comparison("template", 1))},
			}})
	}
	for _, count := range []int{files, 1_000_000} {
		rows = append(rows, row{
			name: fmt.Sprintf("losses, all of %d files new, cold", count), long: count > files, fill: newFiles(count),
			contenders: []contender{
				{"impermanence diff", s.ourDiff("")},
				{"comparison by two workers", s.comparison("", 2)},
				{"limit: the tree search in a loop", s.bareSearchOfAll},
			},
		})
	}
	return rows
}

// newFiles makes a root of many files.
func newFiles(count int) func(top string) error {
	return func(top string) error {
		if err := layout(top); err != nil {
			return err
		}
		return manyFiles(filepath.Join(top, "root"), count)
	}
}

// comparison is what the daemon does for a list of losses, in a process of its own.
func (s *stage) comparison(base string, workers int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, err := d.mount("subvolid=5")
		return exec.CommandContext(ctx, s.self, "limit", "compare", top, base, fmt.Sprint(workers)), err
	}
}

const (
	files        = 300_000
	withTemplate = "template = \"template\"\n"
)

// warm does the work once before it is measured.
func warm(prepare func(context.Context, *disk) (*exec.Cmd, error)) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		cmd, err := prepare(ctx, d)
		if err != nil {
			return nil, err
		}
		before := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
		before.Env, before.Dir = cmd.Env, cmd.Dir
		if out, err := before.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
		return cmd, nil
	}
}

// withChanges makes a template of many files and a root of it in which some are changed, in equal parts: written to,
// chmod, deleted, renamed. Both are snapper's snapshots 1 and 2 as well.
func withChanges(changed int) func(top string) error {
	return func(top string) error {
		root := filepath.Join(top, "root")
		if err := layout(top); err != nil {
			return err
		}
		if err := manyFiles(root, files); err != nil {
			return err
		}
		if err := sh("btrfs", "subvolume", "snapshot", "-r", root, filepath.Join(top, "template")); err != nil {
			return err
		}
		if err := sh("btrfs", "subvolume", "delete", root); err != nil {
			return err
		}
		if err := snapshot(filepath.Join(top, "template"), root); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(top, "since"), nil, 0o600); err != nil {
			return err
		}
		for n := range changed {
			if err := changeFile(root, n, n*(files/changed)); err != nil {
				return err
			}
		}
		return snapperPair(top)
	}
}

// changeFile changes one of the files that manyFiles has made.
func changeFile(root string, n, file int) error {
	p := filepath.Join(root, fmt.Sprint(file/1000), fmt.Sprint(file%1000))
	switch n % 4 {
	case 0:
		return os.WriteFile(p, []byte("changed"), 0o644)
	case 1:
		return os.Chmod(p, 0o600)
	case 2:
		return os.Remove(p)
	default:
		return os.Rename(p, p+".renamed")
	}
}

// snapperPair has the template and the root as snapshots where snapper keeps them.
func snapperPair(top string) error {
	snapshots := filepath.Join(top, ".snapshots")
	if err := subvolume(snapshots); err != nil {
		return err
	}
	for n, source := range []string{"template", "root"} {
		dir := filepath.Join(snapshots, fmt.Sprint(n+1))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		info := fmt.Sprintf("<?xml version=\"1.0\"?>\n<snapshot><type>single</type><num>%d</num><date>2026-11-01 00:00:00</date></snapshot>\n", n+1)
		if err := os.WriteFile(filepath.Join(dir, "info.xml"), []byte(info), 0o644); err != nil {
			return err
		}
		if err := sh("btrfs", "subvolume", "snapshot", "-r", filepath.Join(top, source), filepath.Join(dir, "snapshot")); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) ourDiff(template string) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, err := d.mount("subvolid=5")
		if err != nil {
			return nil, err
		}
		environment, err := d.daemonWith(ctx, top, "[ephemeral.\"/\"]\n"+template)
		if err != nil {
			return nil, err
		}
		return s.asking(ctx, environment, daemonRuns, "diff")
	}
}

func (s *stage) snapperStatus(ctx context.Context, d *disk) (*exec.Cmd, error) {
	top, err := d.mount("subvolid=5")
	if err != nil {
		return nil, err
	}
	const script = `rm -f "$1"/.snapshots/*/filelist-* && exec snapper --no-dbus --config=bench status 1..2` // it keeps what it found
	return exec.CommandContext(ctx, "bash", "-c", script, "bench", top), d.snapperConfig(top)
}

// inTop is a command in a shell whose first argument is the top level.
func inTop(script string) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, err := d.mount("subvolid=5")
		return exec.CommandContext(ctx, "bash", "-c", script, "bench", top), err
	}
}

func (s *stage) sendDump(ctx context.Context, d *disk) (*exec.Cmd, error) {
	return inTop(`btrfs send --quiet --no-data -p "$1/template" "$1/.snapshots/2/snapshot" | btrfs receive --dump`)(ctx, d)
}

func (s *stage) findNewer(ctx context.Context, d *disk) (*exec.Cmd, error) {
	return inTop(`find "$1/root" -cnewer "$1/since"`)(ctx, d)
}

func (s *stage) rsyncDryRun(ctx context.Context, d *disk) (*exec.Cmd, error) {
	return inTop(`rsync --dry-run --archive --delete --itemize-changes "$1/root/" "$1/template/"`)(ctx, d)
}

func (s *stage) findNew(ctx context.Context, d *disk) (*exec.Cmd, error) {
	top, since, err := d.rootAndFork()
	return exec.CommandContext(ctx, "btrfs", "subvolume", "find-new", filepath.Join(top, "root"), since), err
}

func (s *stage) bareSearch(ctx context.Context, d *disk) (*exec.Cmd, error) {
	top, since, err := d.rootAndFork()
	return exec.CommandContext(ctx, s.self, "limit", "search", filepath.Join(top, "root"), since), err
}

func (s *stage) bareSearchOfAll(ctx context.Context, d *disk) (*exec.Cmd, error) {
	top, err := d.mount("subvolid=5")
	return exec.CommandContext(ctx, s.self, "limit", "search", filepath.Join(top, "root"), "0"), err
}

var forkLine = regexp.MustCompile(`Gen at creation:\s*(\d+)`)

// rootAndFork mounts the top level, and asks in which transaction the root was made.
func (d *disk) rootAndFork() (top, transid string, err error) {
	if top, err = d.mount("subvolid=5"); err != nil {
		return top, "", err
	}
	about, err := output("btrfs", "subvolume", "show", filepath.Join(top, "root"))
	found := forkLine.FindStringSubmatch(about)
	if err != nil || found == nil {
		return top, "", fmt.Errorf("when was the root made: %q, %w", about, err)
	}
	return top, found[1], nil
}
