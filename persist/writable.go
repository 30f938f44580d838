package persist

import "golang.org/x/sys/unix"

// WithoutAccessTimes has reading write nothing to the file system that is mounted at dir, by way of that mount. Its other options stay.
func WithoutAccessTimes(dir string) error {
	attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOATIME, Attr_clr: unix.MOUNT_ATTR__ATIME}
	return wrap("mount with noatime", dir, unix.MountSetattr(unix.AT_FDCWD, dir, 0, &attributes))
}

// MakeWritable has the file system that is mounted at dir be written to, by way of that mount at least: a root that was mounted with "ro" for a
// check, as kernel command lines say. Its other options stay. Where it may be written to already nothing is done.
func MakeWritable(dir string) error {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return wrap("statfs", dir, err)
	}
	if st.Flags&unix.ST_RDONLY == 0 {
		return nil
	}
	context, err := unix.Fspick(unix.AT_FDCWD, dir, unix.FSPICK_CLOEXEC)
	if err != nil {
		return wrap("make writable", dir, err)
	}
	defer func() { _ = unix.Close(context) }()
	if err := unix.FsconfigSetFlag(context, "rw"); err != nil {
		return wrap("make writable", dir, err)
	}
	if err := unix.FsconfigReconfigure(context); err != nil {
		return wrap("make writable", dir, err)
	}
	return wrap("make writable", dir, unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
}
