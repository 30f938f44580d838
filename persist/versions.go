package persist

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Versions looks a path up in several roots and tells which have the same there. It holds one of each version.
type Versions struct {
	k     *kernel
	known []version
}

// version is one that was seen, and where to look at it again.
type version struct {
	dir, path string
	st        unix.Statx_t
	attrs     xattrs
	link      string
	sum       []byte // of a directory
}

// Version is what a path is in one root.
type Version struct {
	Object
	Number uint64 // the same number is the same thing; counted from 1 in the order in which they were seen, 0 when it is not there
	Size   uint64
}

// NewVersions returns a Versions that has seen none, and looks as long as ctx lasts.
func NewVersions(ctx context.Context) *Versions { return &Versions{k: (&kernel{}).until(ctx)} }

// Look looks a path up in the root that is at dir. Two things are the same when kind, owner, mode, attributes and content
// are; trees are taken to be when the names, sizes and times in them are. Symlinks on the way are followed when only root can have made them, and stay in the root.
func (v *Versions) Look(dir, path string) (Version, error) {
	r, err := newResolver(v.k, dir)
	if err != nil {
		return Version{}, err
	}
	defer r.close()
	parent, name, err := r.parent(path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return Version{}, nil
	}
	if err != nil {
		return Version{}, err
	}
	name = orDot(name)
	found := version{dir: dir, path: path}
	if found.st, err = v.k.stat(parent, name); errors.Is(err, unix.ENOENT) {
		return Version{}, nil
	} else if err != nil {
		return Version{}, err
	}
	o := objectOf(found.st)
	if err := v.read(parent, name, o.Kind, &found); err != nil {
		return Version{}, err
	}
	o.Link = found.link
	number, err := v.number(parent, name, found)
	return Version{Object: o, Number: number, Size: found.st.Size}, err
}

// read reads what identifies a version and is not in stat.
func (v *Versions) read(parent int, name string, kind ObjectKind, found *version) (err error) {
	switch kind {
	case IsSymlink:
		found.link, err = v.k.readLink(parent, name)
	case IsDirectory:
		found.sum, err = v.k.fingerprint(parent, name)
	default:
	}
	if err != nil {
		return err
	}
	found.attrs, err = v.k.readXattrsAt(parent, name)
	return err
}

// number finds a version among those that were seen, or adds it.
func (v *Versions) number(parent int, name string, found version) (uint64, error) {
	for i := range v.known {
		same, err := v.same(parent, name, found, v.known[i])
		if err != nil {
			return 0, err
		}
		if same {
			return uint64(i + 1), nil
		}
	}
	v.known = append(v.known, found)
	return uint64(len(v.known)), nil
}

func (v *Versions) same(parent int, name string, a, b version) (bool, error) {
	if a.st.Mode != b.st.Mode || a.st.Uid != b.st.Uid || a.st.Gid != b.st.Gid || a.link != b.link || string(a.sum) != string(b.sum) ||
		a.st.Rdev_major != b.st.Rdev_major || a.st.Rdev_minor != b.st.Rdev_minor || !a.attrs.equal(b.attrs) {
		return false, nil
	}
	if a.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return true, nil
	}
	if a.st.Size != b.st.Size || a.st.Size == 0 {
		return a.st.Size == b.st.Size, nil
	}
	r, err := newResolver(v.k, b.dir)
	if err != nil {
		return false, err
	}
	defer r.close()
	other, otherName, err := r.parent(b.path)
	if err != nil {
		return false, err
	}
	return v.k.sameContent(parent, name, other, otherName)
}
