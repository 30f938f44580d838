package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/unit"
	"github.com/coreos/go-systemd/v22/util"
	"github.com/moby/sys/mountinfo"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/dbus"
)

// Browser mounts old roots to be looked at, read-only. While one is mounted it is in use, and so not deleted.
type Browser interface {
	// Browse mounts a subvolume at a directory; one that is mounted there already is left as it is.
	Browse(ctx context.Context, device string, id btrfsops.SubvolumeID, at string) error
	// EndBrowse takes it away.
	EndBrowse(ctx context.Context, at string) error
	// MountTop mounts the top level of the file system on a device at a directory, where this process could not open it by itself.
	MountTop(ctx context.Context, device, at string) error
}

// NewBrowser returns the browser that fits: PID 1 where this process is a service, as what that mounts is invisible to
// others; else this process.
func NewBrowser(opts Options) Browser {
	if opts.Sysroot == "/" && os.Getenv("INVOCATION_ID") != "" && util.IsRunningSystemd() {
		return unitBrowser{}
	}
	return directBrowser{}
}

// BrowseRoot mounts a root read-only and returns where.
func (d *Daemon) BrowseRoot(ctx context.Context, id uint64) (string, error) {
	found, err := d.find(id)
	if err != nil {
		return "", toBus(err)
	}
	root := found[0]
	if root.Deleting {
		return "", named(dbus.ErrProtected, "%q is being deleted", root.Name)
	}
	release, err := d.jobs.Claim(root.place.device) // no job deletes it meanwhile
	if err != nil {
		return "", toBus(err)
	}
	defer release()
	at := d.browsedAt(root.place, root.ID, root.Name)
	mounts, err := readMounts()
	if err == nil && mounts.byPoint[at] == nil {
		err = d.opts.Browser.Browse(ctx, root.place.device, root.ID, at)
	}
	if err != nil {
		return "", toBus(fmt.Errorf("browse %q: %w", root.Name, err))
	}
	d.tell(dbus.RootsChanged)
	return at, nil
}

// EndBrowse takes the mount of a root away.
func (d *Daemon) EndBrowse(ctx context.Context, id uint64) error {
	found, err := d.find(id)
	if err != nil {
		return toBus(err)
	}
	at := d.browsedAt(found[0].place, found[0].ID, found[0].Name)
	mounts, err := readMounts()
	if err == nil && mounts.byPoint[at] != nil {
		err = d.opts.Browser.EndBrowse(ctx, at)
	}
	if err != nil {
		return toBus(fmt.Errorf("end browsing %q: %w", found[0].Name, err))
	}
	d.tell(dbus.RootsChanged)
	return nil
}

// stopBrowsing takes away what waits for somebody to look at a root that is deleted.
func (d *Daemon) stopBrowsing(ctx context.Context, p place, id btrfsops.SubvolumeID, name string) {
	at := d.browsedAt(p, id, name)
	if _, err := os.Lstat(at); err != nil { // lstat does not mount
		return
	}
	if err := d.opts.Browser.EndBrowse(context.WithoutCancel(ctx), at); err != nil {
		d.log.Warnw("a deleted root can still be browsed", "path", at, "error", err)
	}
}

// browsedAt is where a root is mounted: by its name where that is plain and of the first ephemeral mount point, else by its id.
func (d *Daemon) browsedAt(p place, id btrfsops.SubvolumeID, name string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_:+", c)
	}
	if strings.TrimFunc(name, plain) != "" || p.index != 0 {
		name = strconv.FormatUint(p.outside(id), 10)
	}
	return filepath.Join(d.opts.RunDir, "roots", name)
}

// directBrowser mounts in this process's mount namespace.
type directBrowser struct{}

func (directBrowser) Browse(_ context.Context, device string, id btrfsops.SubvolumeID, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	return btrfsops.MountReadOnly(device, id, at)
}

func (directBrowser) EndBrowse(_ context.Context, at string) error {
	err := btrfsops.Unmount(at)
	if errors.Is(err, btrfsops.ErrBusy) {
		return named(dbus.ErrMountBusy, "%w", err)
	}
	if err != nil {
		return err
	}
	return os.Remove(at)
}

// MountTop does nothing: what this process may mount it may open.
func (directBrowser) MountTop(context.Context, string, string) error { return nil }

// unitBrowser has PID 1 mount, when something is looked at there, and unmount when nothing was for a while.
type unitBrowser struct{}

// browseIdle is how long a browsed root stays mounted after its last use.
const browseIdle = 10 * time.Minute

// browseOptions are the mount options of a browsed root.
const browseOptions = "ro,noatime,nosuid,nodev,noexec,subvolid=%d"

func (unitBrowser) Browse(ctx context.Context, device string, id btrfsops.SubvolumeID, at string) error {
	name := unit.UnitNamePathEscape(at)
	about := systemd.PropDescription("Old Root " + filepath.Base(at))
	mount := systemd.PropertyCollection{Name: name + ".mount", Properties: []systemd.Property{
		about, property("What", device), property("Type", "btrfs"), property("Options", fmt.Sprintf(browseOptions, id)),
		property("CollectMode", "inactive-or-failed"),
	}}
	automount := []systemd.Property{
		about, property("Where", at), property("TimeoutIdleUSec", uint64(browseIdle.Microseconds())),
		property("DirectoryMode", uint32(0o755)), property("CollectMode", "inactive-or-failed"),
	}
	how, err := asked(ctx, name+".automount", func(c *systemd.Conn, ctx context.Context, name, mode string, result chan<- string) (int, error) {
		return c.StartTransientUnitAux(ctx, name, mode, automount, []systemd.PropertyCollection{mount}, result)
	})
	if err == nil && how == "unsupported" { // in a container: it stays until it is unmounted
		how, err = asked(ctx, mount.Name, func(c *systemd.Conn, ctx context.Context, name, mode string, result chan<- string) (int, error) {
			return c.StartTransientUnitContext(ctx, name, mode, append(mount.Properties, property("Where", at)), result)
		})
	}
	if err == nil && how != "done" {
		err = named(dbus.ErrMountFailed, "%s.mount ended as %q: see journalctl -u '%s.*'", name, how, name)
	}
	return err
}

// topOptions are the mount options of a top level.
const topOptions = "subvolid=5,noatime,nosuid,nodev,noexec"

// MountTop leaves it mounted: it is wanted as long as what is mounted of the file system.
func (unitBrowser) MountTop(ctx context.Context, device, at string) error {
	how, err := asked(ctx, unit.UnitNamePathEscape(at)+".mount", func(c *systemd.Conn, ctx context.Context, name, mode string, result chan<- string) (int, error) {
		return c.StartTransientUnitContext(ctx, name, mode, []systemd.Property{
			systemd.PropDescription("Top Level of the File System on " + device), property("What", device), property("Where", at),
			property("Type", "btrfs"), property("Options", topOptions), property("CollectMode", "inactive-or-failed"),
			property("Before", []string{"impermanenced.service"}), // at the shutdown: it has it open
		}, result)
	})
	if err == nil && how != "done" {
		err = named(dbus.ErrMountFailed, "%s ended as %q", at, how)
	}
	return err
}

func property(name string, value any) systemd.Property {
	return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
}

// EndBrowse unmounts first: as long as something is open there, nothing changes.
func (unitBrowser) EndBrowse(ctx context.Context, at string) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != at, false })
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	slices.Reverse(mounts) // the topmost first
	for _, m := range mounts {
		u := unit.UnitNamePathEscape(at) + ".mount"
		if m.FSType == "autofs" {
			u = unit.UnitNamePathEscape(at) + ".automount"
		}
		how, err := asked(ctx, u, (*systemd.Conn).StopUnitContext)
		if err != nil {
			return err
		}
		if how != "done" {
			return named(dbus.ErrMountBusy, "%s is open somewhere", at)
		}
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
