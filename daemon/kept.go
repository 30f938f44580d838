package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/impermanence/impermanence/daemon/losses"
	"github.com/impermanence/impermanence/persist"
)

// keptAt finds what of an ephemeral mount point survives the next boot. An entry that is not in its place keeps nothing of
// what is there, unless that boot is to take it from there.
func (d *Daemon) keptAt(ctx context.Context, at place) (*losses.Kept, error) {
	cfg, _ := d.current()
	entries, err := d.inspect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	var kept []string
	for _, e := range entries {
		if e.State == persist.InPlace.String() || e.State == StateNextBoot {
			kept = append(kept, e.Target)
		}
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return losses.NewKept(append(kept, d.covered(at, mounts)...)), nil
}

// covered returns the mount points below an ephemeral one that show something else.
func (d *Daemon) covered(at place, mounts []*mountinfo.Info) []string {
	root := topmost(mounts, d.inSysroot(at.mountPoint))
	var covered []string
	for _, m := range mounts {
		p, inside := strings.CutPrefix(m.Mountpoint, strings.TrimSuffix(d.opts.Sysroot, "/")+"/")
		if p = path.Join("/", p); !inside || p == at.mountPoint || !persist.Within(p, at.mountPoint) || partOf(m, root) {
			continue
		}
		covered = append(covered, p)
	}
	return covered
}

// topmost returns what is mounted at a place, nil for nothing.
func topmost(mounts []*mountinfo.Info, point string) (found *mountinfo.Info) {
	for _, m := range mounts {
		if m.Mountpoint == point {
			found = m
		}
	}
	return found
}

// inaccessible is where systemd has what it puts over what a service may not see.
const inaccessible = "/systemd/inaccessible/"

// partOf says whether a mount only shows a part of the root again, as the daemon's own sandbox does with /home (and where
// it hides something, it does so for the daemon alone).
func partOf(m, root *mountinfo.Info) bool {
	if strings.HasPrefix(m.Root, inaccessible) {
		return true
	}
	return root != nil && m.Major == root.Major && m.Minor == root.Minor && persist.Within(m.Root, root.Root)
}

// Where the rules of the vendor and of the machine are. The second is the vendor's on NixOS, which has no /usr/lib.
var ruleFiles = []string{"/usr/lib/impermanence/ignore", "/etc/impermanence/ignore.nixos", "/etc/impermanence/ignore"}

// ignoreRules reads the rules that say what is no loss. What can't be read ignores nothing.
func (d *Daemon) ignoreRules() *losses.Rules {
	rules := &losses.Rules{}
	for _, file := range ruleFiles {
		text, err := os.ReadFile(d.inSysroot(file))
		if err == nil {
			rules.Add("/", file, string(text))
		} else if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warnw("read rules", "error", err)
		}
	}
	passwd, err := os.ReadFile(d.inSysroot("/etc/passwd"))
	if err != nil {
		d.log.Debugw("read users", "error", err)
		return rules
	}
	for _, home := range persist.Homes(passwd) {
		text, err := persist.ReadUserFile(d.inSysroot(home.Dir), losses.UserFile, home.UID)
		if err == nil {
			rules.Add(home.Dir, path.Join(home.Dir, losses.UserFile), string(text))
		} else if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warnw("read a user's rules", "error", err)
		}
	}
	return rules
}
