package persist

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel does not keep options such as x-gvfs-hide. File managers (GIO), findmnt and systemd read them through libmount
// from a table beside the kernel's, /run/mount/utab, in which each mount is one line:
//
//	ID=42 SRC=/dev/sda2 TARGET=/var/log ROOT=/persist/var/log OPTS=x-gvfs-hide
//
// libmount joins it with /proc/self/mountinfo by ID, or by SRC, TARGET and ROOT before util-linux 2.39, so these are written
// as mountinfo has them. Who writes takes a lock on utab.lock, replaces utab by rename, and tells watchers by closing
// utab.event (libmount/src/tab_update.c, lock.c, monitor_utab.c).
const defaultTableDir = "/run/mount"

// tableEntry is what is to stand in the table for one mount.
type tableEntry struct {
	id             uint64 // of the mount
	from           uint64 // the mount that the source is in
	target, source string // as the table has the one, as this process sees the other
	options        []string
}

// mountTable collects changes of the table, to be written all at once.
type mountTable struct {
	file   string
	add    []tableEntry
	remove map[string]bool        // by target
	mounts map[uint64]mountSource // those that were there before
	later  bool                   // see laterRoot
	said   map[string]string      // lines of the table as it was, by target
}

// mountSource is where a mount comes from, as mountinfo tells: device and root.
type mountSource struct {
	device, root, point string
}

// tableOptions gives the options of an entry that are none of the kernel's.
func tableOptions(e Entry) []string {
	var options []string
	if e.Hide {
		options = append(options, "x-gvfs-hide")
	}
	if e.Trash {
		options = append(options, "x-gvfs-trash")
	}
	for _, o := range e.MountOptions {
		if strings.HasPrefix(o, "x-") {
			options = append(options, o)
		}
	}
	return options
}

// staysMounted has systemd leave a mount alone until the very end of a shutdown.
const staysMounted = "x-initrd.mount"

// tableOptions gives what the table is to say of the mount of an entry. What the initrd put in place stays until the end, also when a
// later run finds it there: the journal goes on writing when all that can be unmounted is.
func (s *session) tableOptions(e Entry) []string {
	options := tableOptions(e)
	said := strings.Split(field(s.table.said[s.tableTarget(e)], "OPTS="), ",")
	if (s.table.later || slices.Contains(said, staysMounted)) && !slices.Contains(options, staysMounted) {
		options = append(options, staysMounted)
	}
	return options
}

// beginTable reads the kernel's table while it is short: with a thousand mounts more, that takes as long as a third of
// making them. It is not read at all when libmount's already says what entries want.
func (s *session) beginTable(entries []Entry) error {
	s.table = mountTable{later: laterRoot(s.opts.sysroot), file: path.Join(cmp.Or(s.opts.MountTable, defaultTableDir), "utab")}
	now, err := os.ReadFile(s.table.file)
	if err != nil && !os.IsNotExist(err) {
		return wrap("read", s.table.file, err)
	}
	s.table.said = linesByTarget(now)
	for _, e := range entries {
		options := strings.Join(s.tableOptions(e), ",")
		if options != "" && field(s.table.said[s.tableTarget(e)], "OPTS=") != options {
			return s.table.readMounts()
		}
	}
	return nil
}

// NoteVolume has libmount's table say what the kernel does not keep of a volume's options, as mount(8) does: a system that finds
// x-initrd.mount there keeps the volume mounted until the end. point is where it is mounted in the root at sysroot.
func NoteVolume(sysroot, point string, options []string) error {
	options = tableOptions(Entry{MountOptions: options})
	if len(options) == 0 {
		return nil
	}
	place := path.Join(sysroot, point)
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, place, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st); err != nil {
		return wrap("stat", place, err)
	}
	t := mountTable{later: laterRoot(sysroot), file: path.Join(defaultTableDir, "utab")}
	note := tableEntry{id: st.Mnt_id, from: st.Mnt_id, target: place, source: place, options: options}
	if t.later {
		note.target = point
	}
	t.add = append(t.add, note)
	return t.write(&kernel{})
}

func (t *mountTable) readMounts() error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	t.mounts = parseMounts(data)
	return wrap("read", "mount table", err)
}

// tableTarget gives the path under which libmount is to find the mount of an entry.
func (s *session) tableTarget(e Entry) string {
	if s.table.later {
		return e.Target
	}
	return s.prefix + e.Target
}

// noteMount has the table say the options of an entry's mount.
func (s *session) noteMount(e Entry, id, from uint64) {
	options := s.tableOptions(e)
	if len(options) == 0 {
		return
	}
	if from == 0 { // made by now
		if dir, name, err := s.paths.parent(e.Source); err == nil {
			if st, err := s.k.stat(dir, name); err == nil {
				from = st.Mnt_id
			}
		}
	}
	s.table.add = append(s.table.add, tableEntry{
		id: id, from: from, target: s.tableTarget(e), source: s.prefix + e.Source, options: options,
	})
}

// line gives the line of the table, without its end. It is empty when it is not known where the mount comes from.
func (t *mountTable) line(e tableEntry) string {
	from, ok := t.mounts[e.from]
	below, inside := strings.CutPrefix(e.source, strings.TrimSuffix(from.point, "/"))
	if !ok || !inside {
		return ""
	}
	return "ID=" + strconv.FormatUint(e.id, 10) + " SRC=" + mangle(from.device) + " TARGET=" + mangle(e.target) +
		" ROOT=" + mangle(path.Join(from.root, below)) + " OPTS=" + mangle(strings.Join(e.options, ","))
}

// write brings the table up to date, and leaves it alone when it is.
func (t *mountTable) write(k *kernel) error {
	now, err := os.ReadFile(t.file)
	if err != nil && !os.IsNotExist(err) {
		return wrap("read", t.file, err)
	}
	if t.upToDate(now) {
		return nil
	}
	if t.mounts == nil {
		if err := t.readMounts(); err != nil {
			return err
		}
	}
	dir := path.Dir(t.file)
	if err := k.change("mkdir", dir, func() error { return os.MkdirAll(dir, 0o755) }); err != nil {
		return err
	}
	lock, err := lockFile(context.Background(), k, t.file+".lock")
	if err != nil {
		return err
	}
	defer k.close(lock)
	if now, err = os.ReadFile(t.file); err != nil && !os.IsNotExist(err) {
		return wrap("read", t.file, err)
	}
	return replaceTable(k, t.file, t.apply(now))
}

// upToDate tells whether libmount's table already says all that is to be said.
func (t *mountTable) upToDate(now []byte) bool {
	if len(t.add)+len(t.remove) == 0 {
		return true
	}
	said := linesByTarget(now)
	for target := range t.remove {
		if said[target] != "" {
			return false
		}
	}
	for _, e := range t.add {
		line := said[e.target]
		if field(line, "ID=") != strconv.FormatUint(e.id, 10) || field(line, "OPTS=") != strings.Join(e.options, ",") {
			return false
		}
	}
	return true
}

// apply gives the table's text after the changes. Lines that are already right stay where they are.
func (t *mountTable) apply(now []byte) []byte {
	wanted, size := make(map[string]string, len(t.add)), len(now)
	for _, e := range t.add {
		if line := t.line(e); line != "" {
			wanted[e.target] = line
			size += len(line) + 1
		}
	}
	var out bytes.Buffer
	out.Grow(size)
	for line := range strings.Lines(string(now)) {
		text := strings.TrimSuffix(line, "\n")
		target := field(text, "TARGET=")
		if want, ok := wanted[target]; ok {
			if want != text {
				continue
			}
			delete(wanted, target)
		} else if t.remove[target] {
			continue
		}
		out.WriteString(text)
		out.WriteByte('\n')
	}
	for _, e := range t.add {
		if line, ok := wanted[e.target]; ok {
			out.WriteString(line)
			out.WriteByte('\n')
			delete(wanted, e.target)
		}
	}
	return out.Bytes()
}

// replaceTable puts a new text in place of the table and tells who watches it.
func replaceTable(k *kernel, file string, text []byte) error {
	staged := file + ".impermanence"
	if err := k.change("write", staged, func() error { return os.WriteFile(staged, text, 0o644) }); err != nil {
		return err
	}
	if err := k.change("chmod", staged, func() error { return os.Chmod(staged, 0o644) }); err != nil {
		return err
	}
	if err := k.change("rename", staged, func() error { return os.Rename(staged, file) }); err != nil {
		return err
	}
	fd, err := unix.Open(file+".event", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return wrap("open", file+".event", err)
	}
	k.close(fd)
	return nil
}

// laterRoot tells whether the root that is being booted becomes "/" later: whether this is an initrd. Then the table is
// written as the booted system will read it, for /run and the numbers of mounts go along when the root is switched.
func laterRoot(sysroot string) bool {
	if sysroot == "" || path.Clean(sysroot) == "/" {
		return false
	}
	if _, err := os.Lstat("/etc/initrd-release"); !errors.Is(err, os.ErrNotExist) {
		return true
	}
	var st unix.Statfs_t
	err := unix.Statfs("/", &st)
	return err == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}
