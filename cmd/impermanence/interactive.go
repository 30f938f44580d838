package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// pick shows the losses on the whole screen, and then does what was asked for in it.
func (a *app) pick(ctx context.Context, results *dbus.Results[dbus.FileChange]) error {
	top, err := collect(ctx, results)
	if err != nil {
		return err
	}
	if top.count == 0 {
		a.notice(question{}.nothing())
		return nil
	}
	p := newPicker(a.stdout, top, time.Now(), a.viewer)
	if err := p.run(ctx); err != nil {
		return fmt.Errorf("show losses: %w", err)
	}
	if !p.accepted {
		return nil
	}
	if err := a.ignore(ctx, p); err != nil {
		return err
	}
	if paths := p.marked(markPersist); len(paths) > 0 {
		return a.persist(ctx, paths, &keepFlags{})
	}
	return nil
}

// viewer shows a file as the user wants files to be shown. A user's name of a file is no option of it.
func (a *app) viewer(p string) *exec.Cmd {
	pager := a.env("PAGER")
	if pager == "" {
		pager = "less"
	}
	return exec.Command("sh", "-c", pager+` "$1"`, "pager", p)
}

// machineRules is where the machine's rules are.
const machineRules = "/etc/impermanence/ignore"

// ignore adds rules for what is to be ignored. A file of rules that would be lost itself is named.
func (a *app) ignore(ctx context.Context, p *picker) error {
	paths := p.marked(markIgnore)
	if len(paths) == 0 {
		return nil
	}
	var text strings.Builder
	for _, path := range paths {
		rule, err := ruleFor(path, p.directory(path))
		if err != nil {
			return err
		}
		text.WriteString(rule + "\n")
	}
	file := machineRules
	if err := appendTo(file, text.String()); err != nil {
		return err
	}
	a.stderr.line("%s added to %s", count(len(paths), "rule"), file)
	return a.nameIfLost(ctx, file)
}

// directory says whether what is at a path is a directory.
func (p *picker) directory(path string) bool {
	n := p.top
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if n = n.children[name]; n == nil {
			return false
		}
	}
	return len(n.children) > 0 || len(n.changes) > 0 && n.changes[0].Type == "directory"
}

// ruleFor writes a path as a pattern of gitignore(5) that matches nothing else.
func ruleFor(path string, directory bool) (string, error) {
	if strings.ContainsAny(path, "\n\r") {
		return "", fmt.Errorf("ignore %q: a rule is a line, and can't have this name", path)
	}
	rule := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
	if directory {
		return rule + "/", nil
	}
	if stem, ends := strings.CutSuffix(rule, " "); ends {
		rule = stem + `\ `
	}
	return rule, nil
}

// appendTo adds lines to a file, which is made when it is not there. Where its last line does not end they begin a new one: they would
// be a part of that.
func appendTo(file, text string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	there, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if len(there) > 0 && there[len(there)-1] != '\n' {
		text = "\n" + text
	}
	if _, err = f.WriteString(text); err != nil {
		return err
	}
	return f.Sync()
}

// nameIfLost says of a file that the next boot loses it, if it does.
func (a *app) nameIfLost(ctx context.Context, file string) error {
	results, err := a.client.ListLosses(ctx, dbus.ChangeFilter{Paths: []string{file}, Ignored: true})
	if err != nil {
		return err
	}
	defer func() { _ = results.Close() }()
	for c, err := range results.All(ctx) {
		if err != nil {
			return err
		}
		if string(c.Path) == file {
			a.stderr.line("%s is a loss itself; to keep it: sudo impermanence persist %s", file, quote(file))
		}
	}
	return nil
}
