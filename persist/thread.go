package persist

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread of its own, which ends with it. What is changed there is seen by no other part of the
// process: the umask is 0, and files can be made as another user while all of root's capabilities stay (see makeAs).
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			result <- wrap("unshare", "umask", err)
			return
		}
		unix.Umask(0)
		err := f()
		// A working directory holds a mount. The thread ends soon, but the process's first one never does: when the goroutine
		// happens to be on it, the runtime puts it to sleep for good.
		_ = unix.Chdir("/")
		result <- err
	}()
	return <-result
}

// secureNoFixup is SECBIT_NO_SETUID_FIXUP of include/uapi/linux/securebits.h: a change of user id leaves capabilities alone.
const secureNoFixup = 1 << 2

// maker makes files and directories that belong to their owner from their first instant, so that a crash leaves nothing
// of root's in a user's home. It does that by the file system user id of its thread (setfsuid(2)).
type maker struct {
	k        *kernel
	owner    Owner // whose ids the thread has; the mode is not used
	possible bool  // the thread may take other ids without losing capabilities
}

func newMaker(k *kernel) *maker {
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits|secureNoFixup), 0, 0, 0)
	}
	return &maker{k: k, possible: err == nil}
}

// as lets what is made next belong to an owner.
func (m *maker) as(owner Owner) {
	if !m.possible {
		return
	}
	if owner.UID != m.owner.UID {
		_, _ = unix.SetfsuidRetUid(int(int32(owner.UID)))
	}
	if owner.GID != m.owner.GID {
		_, _ = unix.SetfsgidRetGid(int(int32(owner.GID)))
	}
	m.owner = owner
}

// directory makes a directory and opens it (O_PATH). An existing one is an error.
func (m *maker) directory(dir int, name string, owner Owner) (int, error) {
	m.as(owner)
	err := m.k.mkdir(dir, name, owner.Mode&0o7777)
	m.as(Owner{})
	if err != nil {
		return -1, err
	}
	fd, err := m.k.open(dir, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	if err := m.settle(fd, name, owner); err != nil {
		m.k.close(fd)
		return -1, err
	}
	return fd, nil
}

// file makes an empty file and opens it for writing. An existing one is an error.
func (m *maker) file(dir int, name string, owner Owner) (int, error) {
	m.as(owner)
	fd, err := m.k.openNew(dir, name, owner.Mode&0o7777)
	m.as(Owner{})
	if err != nil {
		return -1, err
	}
	if err := m.settle(fd, name, owner); err != nil {
		m.k.close(fd)
		return -1, err
	}
	return fd, nil
}

// settle puts right what the parent directory decided otherwise: a set-group-id directory gives its group, a default ACL its
// mode. What was just made belongs to whom it was made as; something else means that somebody put it there in between.
func (m *maker) settle(fd int, name string, owner Owner) error {
	st, err := m.k.stat(fd, "")
	if err != nil {
		return err
	}
	made := owner.UID
	if !m.possible {
		made = 0
	}
	have := objectOf(st).Owner
	if have.UID != made {
		return &callError{call: "make", object: name, errno: unix.ELOOP}
	}
	return m.k.setOwner(fd, name, have, owner)
}

// setOwner changes owner and mode as far as they differ. A change of owner takes set-id bits away, but not from directories.
func (k *kernel) setOwner(fd int, name string, have, want Owner) error {
	const setIDs = unix.S_ISUID | unix.S_ISGID
	given := have.UID != want.UID || have.GID != want.GID
	if given {
		if err := k.chown(fd, name, want.UID, want.GID); err != nil {
			return err
		}
	}
	if have.Mode != want.Mode || given && want.Mode&setIDs != 0 {
		return k.chmod(fd, name, want.Mode)
	}
	return nil
}
