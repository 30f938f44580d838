package btrfsops

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The reference: two whole trees read with readdir, lstat, getxattr and read, and compared in memory, by the rules that
// Compare's comment states. It knows nothing of items, transactions but the one of the fork, or extents.

// refNode is one inode as the system calls show it.
type refNode struct {
	ino      uint64
	gen      uint32
	mode     uint32
	uid, gid uint32
	rdev     uint64
	flags    int
	size     int64
	content  string // hash, or where a symlink points
	xattrs   map[string]string
	links    []link
	children map[string]uint64 // of a directory
	nested   map[string]uint64 // subvolumes in it, by name
}

func (n *refNode) isDirectory() bool { return n.mode&unix.S_IFMT == unix.S_IFDIR }

type refTree struct {
	t     *testing.T
	fs    *Filesystem
	id    SubvolumeID
	nodes map[uint64]*refNode
	paths map[uint64]string // of directories
}

// readTree reads a subvolume that lies at dir.
func readTree(t *testing.T, fs *Filesystem, dir string) *refTree {
	t.Helper()
	tree := &refTree{t: t, fs: fs, nodes: map[uint64]*refNode{}, paths: map[uint64]string{}}
	if dir == "" {
		return tree
	}
	f, err := os.Open(dir)
	must(t, err)
	info, err := subvolumeInfo(f)
	must(t, err)
	must(t, f.Close())
	tree.id = info.ID
	tree.read(dir, "", link{})
	return tree
}

func (tree *refTree) read(at, p string, l link) {
	n := tree.node(at)
	if l.dir != 0 {
		n.links = append(n.links, l)
	}
	if !n.isDirectory() {
		return
	}
	tree.paths[n.ino] = p
	names, err := os.ReadDir(at)
	must(tree.t, err)
	for _, e := range names {
		child := filepath.Join(at, e.Name())
		var st unix.Stat_t
		must(tree.t, unix.Lstat(child, &st))
		if st.Mode&unix.S_IFMT == unix.S_IFDIR && (st.Ino == 256 || st.Ino == 2) {
			// A subvolume, or where one stood in what this is a snapshot of: only the tree knows its id.
			found, err := (&view{top: tree.fs.top, id: tree.id}).entry(n.ino, e.Name())
			must(tree.t, err)
			n.nested[e.Name()] = found.target
			continue
		}
		n.children[e.Name()] = st.Ino
		tree.read(child, join(p, e.Name()), link{n.ino, e.Name()})
	}
}

func (tree *refTree) node(at string) *refNode {
	var st unix.Stat_t
	must(tree.t, unix.Lstat(at, &st))
	if n := tree.nodes[st.Ino]; n != nil {
		return n
	}
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, at, 0)
	must(tree.t, err)
	n := &refNode{
		ino: st.Ino, gen: binary.NativeEndian.Uint32(handle.Bytes()[16:]), mode: st.Mode, uid: st.Uid, gid: st.Gid, rdev: st.Rdev,
		size: st.Size, children: map[string]uint64{}, nested: map[string]uint64{}, xattrs: readXattrs(tree.t, at),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(at)
		must(tree.t, err)
		n.content = fmt.Sprintf("%x", sha256.Sum256(data))
		n.flags = readFlags(tree.t, at)
	case unix.S_IFLNK:
		n.content, err = os.Readlink(at)
		must(tree.t, err)
	case unix.S_IFDIR:
		n.flags = readFlags(tree.t, at)
	default:
		n.content = fmt.Sprint(st.Rdev)
	}
	tree.nodes[n.ino] = n
	return n
}

func readFlags(t *testing.T, at string) int {
	t.Helper()
	f, err := os.Open(at)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	must(t, err)
	return flags
}

func readXattrs(t *testing.T, at string) map[string]string {
	t.Helper()
	buffer, attributes := make([]byte, 64<<10), map[string]string{}
	size, err := unix.Llistxattr(at, buffer)
	must(t, err)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buffer[:size]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, attributePrefix) {
			continue
		}
		value := make([]byte, 64<<10)
		size, err := unix.Lgetxattr(at, name, value)
		must(t, err)
		attributes[name] = string(value[:size])
	}
	return attributes
}

// refDiff is a comparison under way.
type refDiff struct {
	base, root *refTree
	fork       uint64
	partner    map[uint64]uint64 // directories of the root to those of the base
	back       map[uint64]uint64
	found      []string
	sizes      int64 // of all inodes that were told of, but for those that are gone
}

// referenceCompare returns what Compare has to find, one line for each difference.
func referenceCompare(base, root *refTree, fork uint64) ([]string, int64) {
	d := &refDiff{base: base, root: root, fork: fork, partner: map[uint64]uint64{}, back: map[uint64]uint64{}}
	if base.id != 0 {
		d.pair(256, 256)
		d.pairBelow(256)
	}
	for _, n := range root.nodes {
		if n.isDirectory() {
			d.directory(n)
		} else if d.file(n) {
			d.sizes += n.size
		}
	}
	for _, n := range base.nodes {
		d.gone(n)
	}
	slices.Sort(d.found)
	return d.found, d.sizes
}

func (d *refDiff) twin(n *refNode, in *refTree) *refNode {
	o := in.nodes[n.ino]
	if o == nil || o.gen != n.gen || uint64(n.gen) > d.fork || o.mode&unix.S_IFMT != n.mode&unix.S_IFMT {
		return nil
	}
	return o
}

func (d *refDiff) pair(root, base uint64) { d.partner[root], d.back[base] = base, root }

func (d *refDiff) pairBelow(dir uint64) {
	for name, ino := range d.root.nodes[dir].children {
		n := d.root.nodes[ino]
		if !n.isDirectory() {
			continue
		}
		if twin := d.twin(n, d.base); twin != nil {
			d.pair(ino, ino)
		} else if base := d.base.nodes[d.partner[dir]]; base != nil {
			if e := d.base.nodes[base.children[name]]; e != nil && e.isDirectory() && d.twin(e, d.root) == nil {
				d.pair(ino, e.ino)
			}
		}
		d.pairBelow(ino)
	}
}

func (d *refDiff) tell(kind ChangeKind, p, from string, kindOfFile FileType, a Aspects) {
	d.found = append(d.found, line(kind, p, from, kindOfFile, a))
}

func line(kind ChangeKind, p, from string, kindOfFile FileType, a Aspects) string {
	return fmt.Sprintf("%s %q from %q %s %05b", kind, p, from, kindOfFile, a)
}

func lineOf(c Change) string { return line(c.Kind, c.Path, c.From, c.Type, c.Aspects) }

func (n *refNode) fileType() FileType { return fileTypes[n.mode&unix.S_IFMT] }

// entry finds a file at a name in a directory, if that holds one.
func (tree *refTree) fileAt(dir uint64, name string) *refNode {
	if d := tree.nodes[dir]; d != nil {
		if n := tree.nodes[d.children[name]]; n != nil && !n.isDirectory() {
			return n
		}
	}
	return nil
}

func refAspects(x, n *refNode) (a Aspects) {
	if x.mode&unix.S_IFMT != n.mode&unix.S_IFMT {
		a |= AspectType
	} else {
		if x.mode != n.mode {
			a |= AspectMode
		}
		if x.content != n.content {
			a |= AspectContent
		}
	}
	if x.uid != n.uid || x.gid != n.gid {
		a |= AspectOwner
	}
	if !maps.Equal(x.xattrs, n.xattrs) {
		a |= AspectXattrs
	}
	if x.flags != n.flags {
		a |= AspectFlags
	}
	return a
}

func (d *refDiff) both(p string, x, n *refNode) bool {
	kind, differs := refAspects(x, n).kindOf()
	if differs {
		d.tell(kind, p, "", n.fileType(), refAspects(x, n))
	}
	return differs
}

func (d *refDiff) directory(n *refNode) {
	p := d.root.paths[n.ino]
	d.nested(n, p)
	x := d.base.nodes[d.partner[n.ino]]
	switch {
	case n.ino == 256 && x == nil:
		d.both(".", &refNode{mode: unix.S_IFDIR | 0o755}, n)
	case n.ino == 256:
		d.both(".", x, n)
	case x == nil:
		d.tell(ChangeAdded, p, "", TypeDirectory, 0)
	case x.links[0].name != n.links[0].name || d.partner[n.links[0].dir] != x.links[0].dir:
		d.tell(ChangeRenamed, p, d.base.paths[x.ino], TypeDirectory, refAspects(x, n))
	default:
		d.both(p, x, n)
	}
}

func (d *refDiff) nested(n *refNode, p string) {
	x := d.base.nodes[d.partner[n.ino]]
	for name, id := range n.nested {
		switch {
		case x == nil || x.nested[name] == 0:
			d.tell(ChangeAdded, join(p, name), "", TypeSubvolume, 0)
		case x.nested[name] != id:
			d.tell(ChangeModified, join(p, name), "", TypeSubvolume, AspectContent)
		}
	}
}

// file says whether the file was told of at any of its names.
func (d *refDiff) file(n *refNode) (told bool) {
	var gained, lost []string
	for _, l := range n.links {
		p := join(d.root.paths[l.dir], l.name)
		if x := d.base.fileAt(d.partner[l.dir], l.name); x != nil {
			told = d.both(p, x, n) || told
		} else {
			gained = append(gained, p)
		}
	}
	twin := d.twin(n, d.base)
	if twin != nil {
		for _, l := range twin.links {
			if d.root.fileAt(d.back[l.dir], l.name) == nil {
				lost = append(lost, join(d.base.paths[l.dir], l.name))
			}
		}
	}
	slices.Sort(gained)
	slices.Sort(lost)
	for i, p := range gained {
		if i < len(lost) {
			d.tell(ChangeRenamed, p, lost[i], n.fileType(), refAspects(twin, n))
		} else {
			d.tell(ChangeAdded, p, "", n.fileType(), 0)
		}
	}
	for _, p := range lost[min(len(lost), len(gained)):] {
		d.tell(ChangeDeleted, p, "", twin.fileType(), 0)
	}
	return told || len(gained) > 0
}

// gone is about what only the base has.
func (d *refDiff) gone(n *refNode) {
	if n.isDirectory() {
		now := d.root.nodes[d.back[n.ino]]
		for name := range n.nested {
			if now == nil || now.nested[name] == 0 {
				d.tell(ChangeDeleted, join(d.base.paths[n.ino], name), "", TypeSubvolume, 0)
			}
		}
		if now == nil {
			d.tell(ChangeDeleted, d.base.paths[n.ino], "", TypeDirectory, 0)
		}
		return
	}
	if d.twin(n, d.root) != nil {
		return
	}
	for _, l := range n.links {
		if d.root.fileAt(d.back[l.dir], l.name) == nil {
			d.tell(ChangeDeleted, join(d.base.paths[l.dir], l.name), "", n.fileType(), 0)
		}
	}
}
