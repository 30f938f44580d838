package btrfsops

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/dennwc/btrfs"
	"golang.org/x/sys/unix"
)

// SubvolumeID is the number that btrfs gives a subvolume. Ids only grow and are never used again.
type SubvolumeID uint64

// TopLevelID is the id of the top level, which holds all other subvolumes.
const TopLevelID SubvolumeID = 5

// Filesystem is the top level of a btrfs file system, held open. Its methods may be called from several goroutines; those
// that change something exclude each other, also between processes, and say ErrBusy rather than wait.
type Filesystem struct {
	top    *os.File // the top level's directory
	mount  int      // descriptor of the mount that OpenDevice made, or -1
	uuid   string
	kernel kernel
}

// OpenDevice mounts the top level of the file system on device without a mount point: nobody else sees it, and it is
// gone when it is closed or the process ends, unless LeaveMounted keeps it. Options are btrfs(5)'s, such as "compress=zstd": the kernel
// takes those of a file system's first mount for as long as there is one. Errors: ErrNotBtrfs, ErrDiskMissing, ErrReadOnly, ErrBusy, fs.ErrNotExist.
func OpenDevice(device string, options ...string) (*Filesystem, error) {
	const attributes = unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	mount, err := mountDetached(device, attributes, append([]string{bySubvolumeID(TopLevelID)}, options...)...)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(mount)
		return nil, wrap("open top level of", device, err)
	}
	fs, err := newFilesystem(os.NewFile(uintptr(fd), device), mount)
	if err != nil {
		_ = unix.Close(mount)
		return nil, err
	}
	return fs, nil
}

// bySubvolumeID is the mount option that picks a subvolume.
func bySubvolumeID(id SubvolumeID) string { return "subvolid=" + strconv.FormatUint(uint64(id), 10) }

// mountDetached makes a detached mount with options of btrfs. With fsopen a wrong file system type is told apart from other
// failures before anything is mounted.
func mountDetached(device string, attributes int, options ...string) (int, error) {
	if _, err := os.Stat(device); err != nil {
		return -1, fmt.Errorf("open device: %w", err)
	}
	context, err := unix.Fsopen("btrfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, wrap("prepare to mount", device, err)
	}
	defer func() { _ = unix.Close(context) }()
	for _, option := range append([]string{"source=" + device}, options...) {
		key, value, hasValue := strings.Cut(option, "=")
		if hasValue {
			err = unix.FsconfigSetString(context, key, value)
		} else {
			err = unix.FsconfigSetFlag(context, key)
		}
		if err != nil {
			return -1, wrap("set mount option "+key+" for", device, err)
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, wrap("mount", device, explainMount(device, err))
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, attributes)
	return mount, wrap("mount", device, err)
}

// explainMount says what the errors of mounting a btrfs mean.
func explainMount(device string, err error) error {
	switch {
	case diskMissing(device): // ENOENT, or EINVAL with degraded where one disk too many is: neither is of the device
		return fmt.Errorf("%w (%v)", ErrDiskMissing, err) //nolint:errorlint // see above
	case errors.Is(err, unix.EINVAL): // no btrfs superblock on the device
		return fmt.Errorf("%w (%w)", ErrNotBtrfs, err)
	case errors.Is(err, unix.EACCES): // the block device takes no writes
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	default:
		return err
	}
}

// OpenMounted uses the top level where it is mounted already. Errors: ErrNotBtrfs, ErrNotSubvolume when dir is not where
// subvolume id 5 is mounted.
func OpenMounted(dir string) (*Filesystem, error) {
	top, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open top level: %w", err)
	}
	return newFilesystem(top, -1)
}

// newFilesystem checks that top is the top level. It closes top when it fails.
func newFilesystem(top *os.File, mount int) (*Filesystem, error) {
	uuid, err := identify(top)
	if err != nil {
		_ = top.Close()
		return nil, err
	}
	return &Filesystem{top: top, mount: mount, uuid: uuid}, nil
}

// identify returns the UUID of the file system whose top level top is.
func identify(top *os.File) (string, error) {
	info, err := subvolumeInfo(top)
	if err != nil {
		return "", err
	}
	if info.ID != TopLevelID {
		return "", fmt.Errorf("%w: %q is subvolume %d, not the top level", ErrNotSubvolume, top.Name(), info.ID)
	}
	fs, err := btrfs.Open(procPath(top), true)
	if err != nil {
		return "", wrap("open", top.Name(), err)
	}
	defer func() { _ = fs.Close() }()
	about, err := fs.Info()
	if err != nil {
		return "", wrap("read file system information of", top.Name(), err)
	}
	return formatUUID([16]byte(about.FSID)), nil
}

// Close lets the file system go. A mount that OpenDevice made is unmounted.
func (fs *Filesystem) Close() error {
	err := fs.top.Close()
	if fs.mount >= 0 {
		err = errors.Join(err, unix.Close(fs.mount))
		fs.mount = -1
	}
	return err
}

// Top is a path of the top level that holds in this process, and until Close.
func (fs *Filesystem) Top() string { return procPath(fs.top) }

// UUID is the file system's UUID in lower case, 8-4-4-4-12.
func (fs *Filesystem) UUID() string { return fs.uuid }

// Sync flushes all files of the file system, commits, and wakes the cleaner, which frees what was deleted. The operations
// of this package are durable without it.
func (fs *Filesystem) Sync() error { return fs.kernel.sync(fs.top) }

// StartCommit has the kernel's transaction thread commit what has been done on the btrfs that dir is on, and waits until that begins. A thread that
// is just committing misses it, and this waits for its next periodic commit, for up to 30 s (seen with Linux 6.18: the second of two in a row). So
// it is for early boot, once: the thread sleeps for its first 30 s, and longer where nothing is written for so long. Errors: ErrNotBtrfs.
func StartCommit(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return wrap("start to commit", dir, ioctl(int(f.Fd()), iocStartSync, nil))
}

// lock excludes every other writer of ours, in this process and in others; the kernel drops it with the process. It
// returns ErrBusy at once when somebody holds it.
func (fs *Filesystem) lock() (unlock func(), err error) {
	// A description of its own: flock(2) belongs to the open file description, and fs.top is shared.
	fd, err := unix.Openat(int(fs.top.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, wrap("lock", fs.top.Name(), err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: another process is changing the file system", ErrBusy)
		}
		return nil, wrap("lock", fs.top.Name(), err)
	}
	return func() {
		// Not by closing alone: a process that is being forked at this moment still holds a copy of the descriptor.
		_ = unix.Flock(fd, unix.LOCK_UN)
		_ = unix.Close(fd)
	}, nil
}

// Space is what the kernel says of a file system's room, in bytes, after the redundancy of its profiles (a raid1 file
// system of two 10 GiB devices has about 10 GiB).
type Space struct {
	Total, Free uint64
}

// Space asks statfs(2), as df does; no quotas are needed. Free is what an unprivileged process can still write.
func (fs *Filesystem) Space() (Space, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(fs.top.Fd()), &st); err != nil {
		return Space{}, wrap("read space of", fs.top.Name(), err)
	}
	return spaceOf(&st), nil
}

// SpaceAt is [Filesystem.Space] of the file system that path is on, whatever it is; nothing is opened for it.
func SpaceAt(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, wrap("read space at", path, err)
	}
	return spaceOf(&st), nil
}

func spaceOf(st *unix.Statfs_t) Space {
	size := uint64(st.Bsize)
	return Space{Total: st.Blocks * size, Free: st.Bavail * size}
}
