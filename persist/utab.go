package persist

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
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
	id                   uint64
	source, target, root string
	options              []string
}

// mountTable collects changes of the table, to be written all at once.
type mountTable struct {
	add    []tableEntry
	remove map[string]bool // by target
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

// line gives the line of the table, without its end.
func (t tableEntry) line() string {
	return fmt.Sprintf("ID=%d SRC=%s TARGET=%s ROOT=%s OPTS=%s", t.id, mangle(t.source), mangle(t.target), mangle(t.root), mangle(strings.Join(t.options, ",")))
}

// mangle writes blanks and backslashes in octal, as libmount and mountinfo do.
func mangle(s string) string {
	if !strings.ContainsAny(s, "\\ \t\n") {
		return s
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte("\\ \t\n", c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unmangle reads what mangle wrote.
func unmangle(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// write brings the table up to date, and leaves it alone when it is.
func (t *mountTable) write(k *kernel, dir string) error {
	if len(t.add) == 0 && len(t.remove) == 0 {
		return nil
	}
	if dir == "" {
		dir = defaultTableDir
	}
	file := path.Join(dir, "utab")
	if now, err := os.ReadFile(file); (err == nil || os.IsNotExist(err)) && bytes.Equal(now, t.apply(now)) {
		return nil
	}
	if err := k.change("mkdir", dir, func() error { return os.MkdirAll(dir, 0o755) }); err != nil {
		return err
	}
	lock, err := lockTable(k, file+".lock")
	if err != nil {
		return err
	}
	defer k.close(lock)
	now, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return wrap("read", file, err)
	}
	return replaceTable(k, file, t.apply(now))
}

// apply gives the table's text after the changes. Lines that are already right stay where they are.
func (t *mountTable) apply(now []byte) []byte {
	wanted := map[string]string{}
	for _, e := range t.add {
		wanted[e.target] = e.line()
	}
	var out bytes.Buffer
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
		out.WriteString(text + "\n")
	}
	for _, e := range t.add {
		if line, ok := wanted[e.target]; ok {
			out.WriteString(line + "\n")
			delete(wanted, e.target)
		}
	}
	return out.Bytes()
}

// field gives the value of a variable in a line of the table.
func field(line, name string) string {
	for part := range strings.SplitSeq(line, " ") {
		if value, ok := strings.CutPrefix(part, name); ok {
			return unmangle(value)
		}
	}
	return ""
}

// lockTable takes libmount's lock; closing the descriptor gives it back.
func lockTable(k *kernel, name string) (int, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, wrap("open", name, err)
	}
	if err := retry(func() error { return unix.Flock(fd, unix.LOCK_EX) }); err != nil {
		k.close(fd)
		return -1, wrap("lock", name, err)
	}
	return fd, nil
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

// mountSource is where a mount comes from, as mountinfo tells: device and root.
type mountSource struct {
	device, root string
}

// readMountSources reads, for some mounts, where they come from.
func readMountSources(ids map[uint64]bool) (map[uint64]mountSource, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, wrap("read", "mount table", err)
	}
	sources := map[uint64]mountSource{}
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		kind := strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 2 {
			continue
		}
		id, err := strconv.ParseUint(fields[0], 10, 64)
		if err == nil && ids[id] {
			sources[id] = mountSource{device: unmangle(kind[1]), root: unmangle(fields[3])}
		}
	}
	return sources, nil
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
