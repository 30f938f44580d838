package btrfsops

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// attributePrefix starts the name of every extended attribute of ours. Only root sees or sets the trusted namespace.
const attributePrefix = "trusted.impermanence."

// What is known of a subvolume stands on the subvolume itself, so that it can't diverge from it. A snapshot, by us or by
// hand, inherits all of it from its source: so attributes count only where attrOwner, or attrStaged itself, has the
// subvolume's own id.
const (
	attrOwner      = "owner"       // id of the subvolume that the attributes are about
	attrKind       = "kind"        // a Kind; on an old root or snapshot
	attrBootID     = "boot_id"     // the boot that the root was made for; of a snapshot: during which it was taken
	attrStaged     = "staged"      // its own id: a fresh root that has not become the root yet
	attrReplaces   = "replaces"    // id of the root that a fresh root was made to replace, "0" for none
	attrRolledOver = "rolled_over" // when it stopped being the root, or when the snapshot was taken: timeFormat
	attrPinned     = "pinned"      // "1"
	attrLabel      = "label"       // free text of the user
	attrDeleting   = "deleting"    // "1": its deletion was begun
	attrNext       = "next"        // on the root: what was asked for the next boot
	attrRecorded   = "recorded"    // "1": while it was the root, entries were recorded that may have to be taken from it
)

// timeFormat is how times are written: RFC 3339 in UTC, to the microsecond.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// attributes is what stands on one subvolume, by name without the prefix.
type attributes map[string]string

// attributesOf reads the attributes that are about a subvolume by its id, with one search in its own tree: nothing is opened, no path
// is walked, so ten thousand cost as many system calls.
func (fs *Filesystem) attributesOf(id SubvolumeID) (attributes, error) {
	a := attributes{}
	key := searchKey{
		TreeID: uint64(id), MinObjectid: firstFreeID, MaxObjectid: firstFreeID,
		MinType: keyXattrItem, MaxType: keyXattrItem,
	}
	err := search(fs.top, key, func(i item) error {
		return decodeXattrs(i.data, func(name, value string) {
			if short, ours := strings.CutPrefix(name, attributePrefix); ours {
				a[short] = value
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read attributes of subvolume %d: %w", id, err)
	}
	return a.of(id), nil
}

// of leaves out what a subvolume inherited from another.
func (a attributes) of(id SubvolumeID) attributes {
	self := formatID(id)
	if a[attrStaged] != self {
		delete(a, attrStaged)
	}
	if a[attrOwner] == self {
		return a
	}
	if _, staged := a[attrStaged]; staged {
		return attributes{attrStaged: self}
	}
	return attributes{}
}

// whole says whether the subvolume of old_roots with this name is one that was a root or a copy of one, all of it.
func (a attributes) whole(name string) bool {
	return a[attrDeleting] == "" && Kind(a[attrKind]) != KindDiscarded && !IsUnfinished(name)
}

func formatID(id SubvolumeID) string { return strconv.FormatUint(uint64(id), 10) }

// time returns a time attribute, zero when it is missing or not one.
func (a attributes) time(name string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, a[name])
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// replaces returns the id in attrReplaces; false when there is none.
func (a attributes) replaces() (SubvolumeID, bool) {
	id, err := strconv.ParseUint(a[attrReplaces], 10, 64)
	return SubvolumeID(id), err == nil
}

// pair is one attribute to set; an empty value removes it.
type pair struct{ name, value string }

// setAttributes sets several attributes of the subvolume with an id, which f is open on, in order.
func (k *kernel) setAttributes(f *os.File, id SubvolumeID, pairs ...pair) error {
	if err := k.own(f, id); err != nil {
		return err
	}
	for _, p := range pairs {
		set := func() error { return k.setAttribute(f, p.name, p.value) }
		if p.value == "" {
			set = func() error { return k.removeAttribute(f, p.name) }
		}
		if err := set(); err != nil {
			return err
		}
	}
	return nil
}

// own makes the attributes of the subvolume that f is open on its own: what it inherited goes, but for attrStaged.
func (k *kernel) own(f *os.File, id SubvolumeID) error {
	if owner, err := readAttribute(f, attrOwner); err == nil && owner == formatID(id) {
		return nil
	}
	names, err := attributeNames(f)
	if err != nil {
		return err
	}
	for _, name := range names {
		if short, ours := strings.CutPrefix(name, attributePrefix); ours && short != attrStaged {
			if err := k.removeAttribute(f, short); err != nil {
				return err
			}
		}
	}
	return k.setAttribute(f, attrOwner, formatID(id))
}

// readAttribute reads one attribute; "" when it is not there.
func readAttribute(f *os.File, name string) (string, error) {
	var value [1024]byte // names have 255 at most, labels too
	n, err := unix.Fgetxattr(int(f.Fd()), attributePrefix+name, value[:])
	if errors.Is(err, unix.ENODATA) {
		return "", nil
	}
	if err != nil {
		return "", wrap("read "+name+" of", f.Name(), err)
	}
	return string(value[:n]), nil
}

// attributeNames lists the names of all extended attributes of a file.
func attributeNames(f *os.File) ([]string, error) {
	for {
		n, err := unix.Flistxattr(int(f.Fd()), nil)
		if err != nil || n == 0 {
			return nil, wrap("list attributes of", f.Name(), err)
		}
		buffer := make([]byte, n)
		n, err = unix.Flistxattr(int(f.Fd()), buffer)
		if errors.Is(err, unix.ERANGE) {
			continue // one was added meanwhile
		}
		if err != nil {
			return nil, wrap("list attributes of", f.Name(), err)
		}
		return strings.Split(string(buffer[:n]), "\x00"), nil
	}
}

// writable calls f while the subvolume that dir is open on is writable, and makes it read-only again when it was. A crash
// in between leaves it writable, which loses nothing; ListRoots still shows the truth.
func (k *kernel) writable(dir *os.File, f func() error) error {
	info, err := subvolumeInfo(dir)
	if err != nil {
		return err
	}
	if !info.ReadOnly {
		return f()
	}
	if err := k.setReadOnly(dir, false); err != nil {
		return err
	}
	if err := f(); err != nil {
		_ = k.setReadOnly(dir, true) // f's error is the one that counts
		return err
	}
	return k.setReadOnly(dir, true)
}
