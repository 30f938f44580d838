package btrfsops

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dennwc/btrfs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ownMounts is the mount table of this process.
const ownMounts = "/proc/self/mountinfo"

// mountWatch knows which subvolumes of a file system are mounted, in any mount namespace that /proc shows. The kernel
// does not stop the deletion of a mounted subvolume, not even of the running root, so somebody has to.
type mountWatch struct {
	owner  superblock
	tables []*os.File    // one for each namespace
	polls  []unix.PollFd // of the tables
	opened time.Time     // when the namespaces were looked for
	ids    map[SubvolumeID]bool
}

// namespacesFor is how long no new mount namespaces are looked for: a deletion may take long, and a container begin meanwhile.
const namespacesFor = time.Second

// watchMounts reads the mount tables; later calls of mounted read them again only when one has changed.
func (fs *Filesystem) watchMounts() (*mountWatch, error) {
	owner, err := fs.superblock()
	if err != nil {
		return nil, err
	}
	w := &mountWatch{owner: owner}
	if err := w.open(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// open opens the tables of all namespaces that there are now, and reads them.
func (w *mountWatch) open() error {
	tables, err := openMountTables()
	w.close()
	w.tables, w.polls, w.opened = tables, nil, time.Now()
	if err != nil {
		return err
	}
	for _, table := range w.tables {
		// proc(5): a change of the table is an exceptional condition.
		w.polls = append(w.polls, unix.PollFd{Fd: int32(table.Fd()), Events: unix.POLLPRI})
	}
	return w.read()
}

// openMountTables opens the mount table of every mount namespace once, this process's first.
func openMountTables() ([]*os.File, error) {
	own, err := openMountTable(ownMounts)
	if err != nil {
		return nil, err
	}
	tables, seen := []*os.File{own}, map[string]bool{}
	if namespace, err := os.Readlink("/proc/self/ns/mnt"); err == nil {
		seen[namespace] = true
	}
	processes, err := processDirectories()
	if err != nil {
		return tables, err
	}
	for _, p := range processes {
		// An unreadable link (of a process with more privileges) costs one more table, not a gap.
		if namespace, err := os.Readlink(p + "/ns/mnt"); err == nil {
			if seen[namespace] {
				continue
			}
			seen[namespace] = true
		}
		table, err := openMountTable(p + "/mountinfo")
		switch {
		case err == nil:
			tables = append(tables, table)
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
			return tables, err
		} // else the process has ended while it was looked at; then its mounts are gone too
	}
	return tables, nil
}

// openMountTable opens a mount table to be polled. A file that package os opens is polled by the Go runtime too, and a change is told
// to the first who asks.
func openMountTable(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, wrap("open", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// processDirectories lists the directories of /proc that are processes.
func processDirectories() ([]string, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer func() { _ = proc.Close() }()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var processes []string
	for _, name := range names {
		if name[0] >= '1' && name[0] <= '9' {
			processes = append(processes, "/proc/"+name)
		}
	}
	return processes, nil
}

func (w *mountWatch) close() {
	for _, table := range w.tables {
		_ = table.Close()
	}
}

// mounted returns the mounted subvolumes as of now.
func (w *mountWatch) mounted() (map[SubvolumeID]bool, error) {
	if time.Since(w.opened) > namespacesFor {
		err := w.open()
		return w.ids, err
	}
	changed, err := unix.Poll(w.polls, 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("watch mounts: %w", err)
	}
	if changed != 0 || err != nil {
		if err := w.read(); err != nil {
			return nil, err
		}
	}
	return w.ids, nil
}

// read reads all tables.
func (w *mountWatch) read() error {
	w.ids = map[SubvolumeID]bool{}
	for i, table := range w.tables {
		_, err := table.Seek(0, 0)
		if err == nil {
			err = addMounted(table, w.owner, w.ids)
		}
		if err != nil && i == 0 { // others may be those of processes that have ended
			return err
		}
	}
	return nil
}

// mountedHere returns the subvolumes mounted in this process's namespace, which in early boot is the only one.
func (fs *Filesystem) mountedHere() (map[SubvolumeID]bool, error) {
	owner, err := fs.superblock()
	if err != nil {
		return nil, err
	}
	table, err := os.Open(ownMounts)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer func() { _ = table.Close() }()
	ids := map[SubvolumeID]bool{}
	return ids, addMounted(table, owner, ids)
}

// addMounted adds the subvolumes that one mount table shows of a file system.
func addMounted(table *os.File, owner superblock, ids map[SubvolumeID]bool) error {
	mounts, err := mountinfo.GetMountsFromReader(table, mountinfo.FSTypeFilter("btrfs"))
	if err != nil {
		return fmt.Errorf("read mounts from %s: %w", table.Name(), err)
	}
	for _, m := range mounts {
		if id, ok := mountedID(m.VFSOptions); ok && owner.has(m) {
			ids[id] = true
		}
	}
	return nil
}

// mountedID reads subvolid= of the options that a mount table shows. The first counts: the name of the subvolume comes
// after it, and may have ",subvolid=" in it.
func mountedID(options string) (SubvolumeID, bool) {
	for option := range strings.SplitSeq(options, ",") {
		if value, found := strings.CutPrefix(option, "subvolid="); found {
			id, err := strconv.ParseUint(value, 10, 64)
			return SubvolumeID(id), err == nil
		}
	}
	return 0, false
}

// superblock tells mounts of a file system from those of others.
type superblock struct {
	known        bool
	major, minor int             // its number in every mount table, which no other file system has; if known
	devices      map[uint64]bool // what it is on, if not
}

// superblock finds out by what the file system's mounts are known. The number stands with the mount of the top level that fs has open,
// unless nobody else sees that one.
func (fs *Filesystem) superblock() (superblock, error) {
	id, err := mountID(fs.top)
	if err != nil {
		return superblock{}, err
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.ID != id || m.FSType != "btrfs", false })
	if err != nil {
		return superblock{}, fmt.Errorf("read mounts: %w", err)
	}
	if len(mounts) > 0 {
		return superblock{known: true, major: mounts[0].Major, minor: mounts[0].Minor}, nil
	}
	devices, err := fs.devices()
	return superblock{devices: devices}, err
}

// mountID is the number in mount tables of the mount that an open file was reached by.
func mountID(f *os.File) (int, error) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
	return int(st.Mnt_id), wrap("find the mount of", f.Name(), err)
}

// has says whether a mount is one of the file system. Where that can't be told it counts as one: rather a subvolume too many is
// protected than one too few.
func (s superblock) has(m *mountinfo.Info) bool {
	if s.known {
		return m.Major == s.major && m.Minor == s.minor
	}
	var st unix.Stat_t
	if unix.Stat(m.Source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return true
	}
	return s.devices[st.Rdev]
}

// devices returns the device numbers that the file system is on.
func (fs *Filesystem) devices() (map[uint64]bool, error) {
	handle, err := btrfs.Open(procPath(fs.top), true)
	if err != nil {
		return nil, wrap("open", fs.top.Name(), err)
	}
	defer func() { _ = handle.Close() }()
	info, err := handle.Info()
	if err != nil {
		return nil, wrap("read devices of", fs.top.Name(), err)
	}
	devices := map[uint64]bool{}
	for id := uint64(0); id <= info.MaxID; id++ {
		device, err := handle.GetDevInfo(id)
		if errors.Is(err, unix.ENODEV) { // ids of removed devices leave gaps
			continue
		}
		if err != nil {
			return nil, wrap("read device of", fs.top.Name(), err)
		}
		var st unix.Stat_t
		if unix.Stat(device.Path, &st) == nil {
			devices[st.Rdev] = true
		}
	}
	return devices, nil
}
