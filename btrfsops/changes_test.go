package btrfsops

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// change makes one random change in a subvolume. One that can't be made where it was to be is none.
func (g *garden) change(in string) {
	c := changes[g.r.IntN(len(changes))]
	g.log = append(g.log, in+": "+c.name+" "+c.do(g, g.path(in)))
}

// changes are what a tree undergoes. Each returns what it did it to.
var changes = []struct {
	name string
	do   func(g *garden, in string) string
}{
	{"create", (*garden).create},
	{"create", (*garden).create},
	{"create", (*garden).create},
	{"make directory", (*garden).makeDirectory},
	{"make directory", (*garden).makeDirectory},
	{"append", (*garden).appendTo},
	{"write into", (*garden).writeInto},
	{"write again as it was", (*garden).writeAgain},
	{"truncate", (*garden).truncate},
	{"punch", (*garden).punch},
	{"allocate", (*garden).allocate},
	{"clone", (*garden).clone},
	{"replace by rename", (*garden).replace},
	{"replace by itself", (*garden).replaceByItself},
	{"rename", (*garden).rename},
	{"rename", (*garden).rename},
	{"exchange", (*garden).exchange},
	{"rename there and back", (*garden).thereAndBack},
	{"link", (*garden).linkTo},
	{"symlink", (*garden).symlinkTo},
	{"fifo or device", (*garden).special},
	{"remove", (*garden).remove},
	{"remove tree", (*garden).removeTree},
	{"make tree again", (*garden).makeAgain},
	{"mode", (*garden).mode},
	{"owner", (*garden).owner},
	{"attribute", (*garden).attribute},
	{"chattr", (*garden).chattr},
	{"times", (*garden).times},
	{"subvolume", (*garden).subvolume},
	{"delete subvolume", (*garden).deleteSubvolume},
	{"sync", (*garden).syncIt},
	{"turn inside out", (*garden).insideOut},
	{"many names", (*garden).manyNames},
}

// names are few, so that they meet again; some are no UTF-8, one is as long as a name may be.
var names = []string{"a", "b", "c", "d", "etc", "name with\nnewline", "\xff\xfe", strings.Repeat("n", 255), "ü", "-"}

// pick returns a random path in a subvolume for which fits is true, "" when there is none. in itself counts with it.
func (g *garden) pick(in string, fits func(st unix.Stat_t) bool) string {
	var found []string
	must(g.T, filepath.WalkDir(in, func(p string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		must(g.T, unix.Lstat(p, &st))
		if p != in && (st.Ino == 256 || st.Ino == 2) {
			return filepath.SkipDir
		}
		if fits(st) {
			found = append(found, p)
		}
		return err
	}))
	if len(found) == 0 {
		return ""
	}
	return found[g.r.IntN(len(found))]
}

func isKind(kind uint32) func(unix.Stat_t) bool {
	return func(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == kind }
}

func anything(st unix.Stat_t) bool { return st.Ino != 256 }

func (g *garden) anyFile(in string) string      { return g.pick(in, isKind(unix.S_IFREG)) }
func (g *garden) anyDirectory(in string) string { return g.pick(in, isKind(unix.S_IFDIR)) }

// place is a random name in a random directory.
func (g *garden) somewhere(in string) string {
	return filepath.Join(g.anyDirectory(in), names[g.r.IntN(len(names))])
}

// data is random content of a size that is kept inline, in one extent, or in some.
func (g *garden) data() []byte {
	g.count++
	size := []int{0, 10, 10, 10, 1500, 5000, 5000, 150_000}[g.r.IntN(8)]
	text := fmt.Appendf(nil, "%d ", g.r.IntN(3))
	if g.r.IntN(2) == 0 {
		text = fmt.Appendf(nil, "%d ", g.count)
	}
	return bytes.Repeat(text, size/len(text)+1)[:size]
}

func (g *garden) create(in string) string {
	p := g.somewhere(in)
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return ""
	}
	_, err = f.Write(g.data())
	must(g.T, err)
	must(g.T, f.Close())
	return p
}

func (g *garden) makeDirectory(in string) string {
	p := g.somewhere(in)
	if os.Mkdir(p, 0o755) != nil {
		return ""
	}
	return p
}

func (g *garden) writeAt(in string, flags int, at func(size int64) int64) string {
	p := g.anyFile(in)
	if p == "" {
		return ""
	}
	f, err := os.OpenFile(p, os.O_RDWR|flags, 0)
	if err != nil {
		return ""
	}
	info, err := f.Stat()
	must(g.T, err)
	_, err = f.WriteAt(g.data(), at(info.Size()))
	must(g.T, err)
	must(g.T, f.Close())
	return p
}

func (g *garden) appendTo(in string) string {
	return g.writeAt(in, 0, func(size int64) int64 { return size })
}

func (g *garden) writeInto(in string) string {
	return g.writeAt(in, 0, func(size int64) int64 { return g.r.Int64N(size + 20_000) })
}

func (g *garden) writeAgain(in string) string {
	p := g.anyFile(in)
	if p == "" {
		return ""
	}
	data, err := os.ReadFile(p)
	must(g.T, err)
	f, err := os.OpenFile(p, os.O_WRONLY, 0)
	must(g.T, err)
	_, err = f.Write(data)
	must(g.T, err)
	must(g.T, f.Close())
	return p
}

func (g *garden) truncate(in string) string {
	p := g.anyFile(in)
	if p != "" {
		must(g.T, os.Truncate(p, g.r.Int64N(20_000)))
	}
	return p
}

func (g *garden) onFile(in string, f func(*os.File) error) string {
	p := g.anyFile(in)
	if p == "" {
		return ""
	}
	file, err := os.OpenFile(p, os.O_RDWR, 0)
	must(g.T, err)
	must(g.T, f(file))
	must(g.T, file.Close())
	return p
}

func (g *garden) punch(in string) string {
	return g.onFile(in, func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, g.r.Int64N(8192), 1+g.r.Int64N(50_000))
	})
}

func (g *garden) allocate(in string) string {
	return g.onFile(in, func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), uint32(g.r.IntN(2)), g.r.Int64N(8192), 1+g.r.Int64N(50_000))
	})
}

func (g *garden) clone(in string) string {
	from, to := g.anyFile(in), g.somewhere(in)
	if from == "" {
		return ""
	}
	source, err := os.Open(from)
	must(g.T, err)
	defer func() { must(g.T, source.Close()) }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return ""
	}
	must(g.T, unix.IoctlFileClone(int(target.Fd()), int(source.Fd())))
	must(g.T, target.Close())
	return from + " to " + to
}

func (g *garden) replaceWith(in string, data func(p string) []byte) string {
	p := g.anyFile(in)
	if p == "" {
		return ""
	}
	temporary := filepath.Join(in, "temporary")
	if os.WriteFile(temporary, data(p), 0o644) != nil {
		return ""
	}
	must(g.T, os.Rename(temporary, p))
	return p
}

func (g *garden) replace(in string) string {
	return g.replaceWith(in, func(string) []byte { return g.data() })
}

func (g *garden) replaceByItself(in string) string {
	return g.replaceWith(in, func(p string) []byte {
		data, err := os.ReadFile(p)
		must(g.T, err)
		return data
	})
}

func (g *garden) rename(in string) string {
	from, to := g.pick(in, anything), g.somewhere(in)
	if from == "" || os.Rename(from, to) != nil {
		return ""
	}
	return from + " to " + to
}

func (g *garden) exchange(in string) string {
	from, to := g.pick(in, anything), g.pick(in, anything)
	if from == "" || unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE) != nil {
		return ""
	}
	return from + " with " + to
}

func (g *garden) thereAndBack(in string) string {
	p := g.pick(in, anything)
	if p == "" {
		return ""
	}
	must(g.T, os.Rename(p, p[:len(in)]+"/there and back"))
	must(g.T, os.Rename(p[:len(in)]+"/there and back", p))
	return p
}

func (g *garden) linkTo(in string) string {
	from, to := g.pick(in, func(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT != unix.S_IFDIR }), g.somewhere(in)
	if from == "" || os.Link(from, to) != nil {
		return ""
	}
	return from + " to " + to
}

func (g *garden) symlinkTo(in string) string {
	p := g.somewhere(in)
	if os.Symlink(names[g.r.IntN(len(names))], p) != nil {
		return ""
	}
	return p
}

func (g *garden) special(in string) string {
	p := g.somewhere(in)
	kind := []uint32{unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFSOCK}[g.r.IntN(4)]
	if unix.Mknod(p, kind|0o600, int(unix.Mkdev(7, uint32(g.r.IntN(2))))) != nil {
		return ""
	}
	return p
}

func (g *garden) remove(in string) string {
	p := g.pick(in, func(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT != unix.S_IFDIR })
	if p != "" {
		must(g.T, os.Remove(p))
	}
	return p
}

func (g *garden) removeTree(in string) string {
	p := g.anyDirectory(in)
	if p == in || strings.Count(strings.TrimPrefix(p, in), "/") < 2 && g.r.IntN(3) > 0 {
		return ""
	}
	g.deleteNested(p)
	must(g.T, os.RemoveAll(p))
	return p
}

// makeAgain replaces a directory by a copy of itself.
func (g *garden) makeAgain(in string) string {
	p := g.anyDirectory(in)
	if p == in {
		return ""
	}
	g.deleteNested(p)
	btrfstest.Run(g.T, "cp", "-a", p, in+"/copy")
	must(g.T, os.RemoveAll(p))
	must(g.T, os.Rename(in+"/copy", p))
	return p
}

func (g *garden) mode(in string) string {
	p := g.pick(in, func(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT != unix.S_IFLNK })
	must(g.T, unix.Chmod(p, []uint32{0o755, 0o700, 0o644, 0o4755, 0o1777}[g.r.IntN(5)]))
	return p
}

func (g *garden) owner(in string) string {
	p := g.pick(in, func(unix.Stat_t) bool { return true })
	must(g.T, os.Lchown(p, g.r.IntN(2), g.r.IntN(2)))
	return p
}

func (g *garden) attribute(in string) string {
	p := g.pick(in, func(unix.Stat_t) bool { return true })
	name := fmt.Sprint("trusted.x", g.r.IntN(4))
	if g.r.IntN(3) == 0 {
		_ = unix.Lremovexattr(p, name)
	} else {
		value := bytes.Repeat(fmt.Append(nil, g.r.IntN(3)), []int{1, 1, 1200, 3000}[g.r.IntN(4)])
		err := unix.Lsetxattr(p, name, value, 0)
		if errors.Is(err, unix.ENOSPC) { // seen with nodes of 4 KiB
			return ""
		}
		must(g.T, err)
	}
	return p
}

func (g *garden) chattr(in string) string {
	return g.onFile(in, func(f *os.File) error {
		flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		must(g.T, err)
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags^0x40) // FS_NODUMP_FL
	})
}

func (g *garden) times(in string) string {
	p := g.pick(in, func(unix.Stat_t) bool { return true })
	must(g.T, unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Sec: g.r.Int64N(1e9)}, {Sec: g.r.Int64N(1e9)}}, unix.AT_SYMLINK_NOFOLLOW))
	return p
}

func (g *garden) subvolume(in string) string {
	p := g.somewhere(in)
	if _, err := os.Lstat(p); err == nil || g.r.IntN(2) > 0 {
		return ""
	}
	btrfstest.Run(g.T, "btrfs", "subvolume", "create", "--", p)
	return p
}

func (g *garden) deleteSubvolume(in string) string {
	dir := g.anyDirectory(in)
	for _, name := range names {
		p := filepath.Join(dir, name)
		var st unix.Stat_t
		if unix.Lstat(p, &st) != nil {
			continue
		}
		switch st.Ino {
		case 256:
			btrfstest.Run(g.T, "btrfs", "subvolume", "delete", "--", p)
			return p
		case 2:
			must(g.T, os.Remove(p))
			return p
		}
	}
	return ""
}

func (g *garden) syncIt(string) string {
	must(g.T, g.Sync())
	return ""
}

// insideOut makes of a/b the directory b/a.
func (g *garden) insideOut(in string) string {
	inner := g.pick(in, isKind(unix.S_IFDIR))
	outer := filepath.Dir(inner)
	if inner == in || outer == in {
		return ""
	}
	free := filepath.Join(in, "inside out")
	must(g.T, os.Rename(inner, free))
	if os.Rename(outer, filepath.Join(free, "outer")) != nil {
		must(g.T, os.Rename(free, inner))
		return ""
	}
	if os.Rename(free, outer) != nil {
		return free
	}
	return inner
}

// manyNames gives a file so many names that they need items of another kind.
func (g *garden) manyNames(in string) string {
	p := g.anyFile(in)
	if p == "" || g.r.IntN(10) > 0 {
		return ""
	}
	for i := range 80 {
		_ = os.Link(p, filepath.Join(filepath.Dir(p), fmt.Sprintf("%0200d", i)))
	}
	return p
}
