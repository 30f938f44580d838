package persist

import "golang.org/x/sys/unix"

// mountOption is an option of a bind mount, as mount_setattr(2) takes it.
type mountOption struct {
	name       string
	set, clear uint64
}

// mountOptions are the options that belong to a mount, not to a file system.
var mountOptions = [...]mountOption{
	{"ro", unix.MOUNT_ATTR_RDONLY, 0},
	{"rw", 0, unix.MOUNT_ATTR_RDONLY},
	{"nosuid", unix.MOUNT_ATTR_NOSUID, 0},
	{"suid", 0, unix.MOUNT_ATTR_NOSUID},
	{"nodev", unix.MOUNT_ATTR_NODEV, 0},
	{"dev", 0, unix.MOUNT_ATTR_NODEV},
	{"noexec", unix.MOUNT_ATTR_NOEXEC, 0},
	{"exec", 0, unix.MOUNT_ATTR_NOEXEC},
	{"noatime", unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME},
	{"relatime", unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR__ATIME},
	{"strictatime", unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME},
	{"nodiratime", unix.MOUNT_ATTR_NODIRATIME, 0},
	{"diratime", 0, unix.MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"symfollow", 0, unix.MOUNT_ATTR_NOSYMFOLLOW},
}

// MountAttributes gives what options of a mount ask for, as fsmount(2) takes it, and the options that are none. Later ones win.
func MountAttributes(options []string) (attributes uint64, others []string) {
	attributes, _ = mountAttributes(options)
	for _, option := range options {
		if !isMountOption(option) {
			others = append(others, option)
		}
	}
	return attributes, others
}

// mountAttributes gives the attributes that options set and clear. Later options win.
func mountAttributes(options []string) (set, clear uint64) {
	for _, option := range options {
		for _, o := range mountOptions {
			if o.name == option {
				set, clear = set&^o.clear|o.set, clear&^o.set|o.clear
			}
		}
	}
	return set, clear
}
