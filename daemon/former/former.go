package former

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// Options say where to look.
type Options struct {
	Config  *config.Config
	Sysroot string // where the booted system is mounted
	RunDir  string // where early boot left its record
	Device  string // of the file system, instead of what the record and the configuration say
	Warn    func(format string, args ...any)
}

// Roots opens roots when somebody asks for them, and holds them open until it is closed. One goroutine may use it.
type Roots struct {
	Options
	records []btrfsops.BootRecord
	read    bool                            // the records were
	disks   map[string]*btrfsops.Filesystem // by device
	dirs    map[string]string               // paths of descriptors, by mount point and root
	opened  []io.Closer
}

// New opens nothing yet.
func New(o Options) *Roots {
	return &Roots{Options: o, disks: map[string]*btrfsops.Filesystem{}, dirs: map[string]string{}}
}

// Close lets go of everything.
func (r *Roots) Close() {
	for i := len(r.opened) - 1; i >= 0; i-- {
		_ = r.opened[i].Close() // only read from
	}
	r.opened = nil
}

// RootOf names the root that an entry was added in and is still to be taken from; known is false where that is not recorded.
func RootOf(e persist.Entry) (name btrfsops.RootName, known bool) {
	return btrfsops.RootName{ID: btrfsops.SubvolumeID(e.AddedIn.Subvolume), UUID: e.AddedIn.UUID}, e.AddedIn != persist.RootName{}
}

// Runs tells whether the root that an entry was added in, and is still to be taken from, is the one that runs.
func (r *Roots) Runs(e persist.Entry) bool {
	name, known := RootOf(e)
	if !known {
		return false
	}
	on, _ := r.Config.EphemeralOf(e.Target)
	now, err := btrfsops.NameOf(filepath.Join(r.Sysroot, "/", on.MountPoint))
	return err == nil && now == name
}

// Former tells where what an entry is made from that was added while the system ran can be read, see persist.Options: in the
// root that it was added in or, when that is not recorded, in the one that this boot replaced. No root: in its place.
func (r *Roots) Former(e persist.Entry) (root, path string, err error) {
	if _, known := RootOf(e); known {
		return r.Named(e)
	}
	on, _ := r.Config.EphemeralOf(e.Target)
	record := r.record(on.MountPoint)
	id := record.Report.Former
	if id == 0 || record.Device == "" {
		return "", "", nil
	}
	return r.open(on, record.Device, e.Target, btrfsops.RootName{ID: id}, func(disk *btrfsops.Filesystem, l btrfsops.Layout) (*os.File, error) {
		return disk.OpenFormerRoot(l, id)
	})
}

// Named is Former for entries whose root is recorded; others are taken from their place. A root that is gone is
// persist.ErrSourceMissing.
func (r *Roots) Named(e persist.Entry) (root, path string, err error) {
	name, known := RootOf(e)
	if !known {
		return "", "", nil
	}
	if r.Runs(e) {
		return "", "", nil
	}
	on, found := r.Config.EphemeralOf(e.Target)
	gone := fmt.Errorf("%w: it is to be taken from the root that it was added in (%s), which is no longer there; make %s to begin with nothing, or forget the entry",
		persist.ErrSourceMissing, name, e.Source)
	if !found {
		return "", "", gone
	}
	device, err := r.device(on)
	if err == nil {
		root, path, err = r.open(on, device, e.Target, name, func(disk *btrfsops.Filesystem, l btrfsops.Layout) (*os.File, error) {
			return disk.OpenNamedRoot(l, name)
		})
	}
	if errors.Is(err, btrfsops.ErrNoSuchRoot) {
		return "", "", gone
	}
	if err != nil {
		return "", "", fmt.Errorf("take it from the root that it was added in (%s): %w", name, err)
	}
	return root, path, nil
}

// Templates gives where what the roots are copies of can be read, by mount point: for a root that was kept, the template that
// is configured. What can't be opened is warned of and left out.
func (r *Roots) Templates() map[string]string {
	dirs := map[string]string{}
	for _, on := range r.Config.Ephemeral {
		record := r.record(on.MountPoint)
		source := cmp.Or(record.Report.Source, on.Template)
		if record.Device == "" || source == "" {
			continue
		}
		dir, _, err := r.open(on, record.Device, on.MountPoint, btrfsops.RootName{}, func(disk *btrfsops.Filesystem, _ btrfsops.Layout) (*os.File, error) {
			return disk.OpenSubvolume(source)
		})
		if err != nil {
			r.Warn("open the template of %s: %v", on.MountPoint, err)
			continue
		}
		dirs[on.MountPoint] = dir
	}
	return dirs
}

// open opens a root of a mount point once, and gives it with the path in it of what is at target.
func (r *Roots) open(on config.Ephemeral, device, target string, name btrfsops.RootName, open func(*btrfsops.Filesystem, btrfsops.Layout) (*os.File, error)) (dir, path string, err error) {
	key := fmt.Sprint(on.MountPoint, " ", name)
	path = "/" + strings.TrimPrefix(strings.TrimPrefix(target, on.MountPoint), "/")
	if dir = r.dirs[key]; dir != "" {
		return dir, path, nil
	}
	disk, err := r.disk(device)
	if err != nil {
		return "", "", err
	}
	root, err := open(disk, btrfsops.Layout{Root: on.Subvolume, OldRoots: on.OldRoots, Template: on.Template})
	if err != nil {
		return "", "", err
	}
	r.opened = append(r.opened, root)
	r.dirs[key] = fmt.Sprintf("/proc/self/fd/%d", root.Fd())
	return r.dirs[key], path, nil
}

// record is what early boot did for a mount point; nothing is known when it did not run.
func (r *Roots) record(mountPoint string) btrfsops.BootRecord {
	if !r.read {
		records, err := btrfsops.ReadBootRecords(filepath.Join(r.RunDir, btrfsops.BootRecordName))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Warn("%v; what was not recorded with its root is taken from its place", err)
		}
		r.records, r.read = records, true
	}
	for _, record := range r.records {
		if record.MountPoint == mountPoint {
			return record
		}
	}
	return btrfsops.BootRecord{}
}

// device is the one that the file system of a mount point is on.
func (r *Roots) device(on config.Ephemeral) (string, error) {
	spec := cmp.Or(r.Device, r.record(on.MountPoint).Device, on.Device)
	if spec == "" {
		return "", fmt.Errorf("the device of %s is not known in this boot, which did not roll it over: the next boot takes it, or configure the device", on.MountPoint)
	}
	return btrfsops.ResolveDevice(spec)
}

// disk opens a file system once.
func (r *Roots) disk(device string) (*btrfsops.Filesystem, error) {
	if disk := r.disks[device]; disk != nil {
		return disk, nil
	}
	disk, err := btrfsops.OpenDevice(device)
	if err == nil {
		r.disks[device] = disk
		r.opened = append(r.opened, disk)
	}
	return disk, err
}
