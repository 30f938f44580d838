package btrfsops

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sameContent says whether two files of one type, or two symlinks, have the same content. Extents tell most of it; what
// they don't tell is read. A file that can't be read (EIO) counts as another.
func (w *worker) sameContent(before, n inode) (same bool, err error) {
	if before.size != n.size {
		return false, nil
	}
	a, b := w.base.segments(before), w.root.segments(n)
	defer a.close()
	defer b.close()
	r := contentReader{worker: w, before: before, now: n}
	defer r.close()
	for pos := uint64(0); pos < n.size; {
		x, err := a.at(pos)
		if err != nil {
			return false, err
		}
		y, err := b.at(pos)
		if err != nil {
			return false, err
		}
		end := min(x.end, y.end, n.size)
		if !x.readsLike(y, pos) {
			same, err := r.same(x, y, pos, end)
			if errors.Is(err, unix.EIO) {
				return false, nil
			}
			if err != nil || !same {
				return false, err
			}
		}
		pos = end
	}
	return true, nil
}

// How much of two files is read at once: little at first, as most that differ do so at once.
const (
	firstRead = 16 << 10
	largeRead = 128 << 10
)

// contentReader reads two files, which it opens when it has to.
type contentReader struct {
	*worker
	before, now inode
	a, b        *os.File
}

func (r *contentReader) close() {
	if r.a != nil {
		_ = r.a.Close()
	}
	if r.b != nil {
		_ = r.b.Close()
	}
}

// same compares two segments from pos up to end.
func (r *contentReader) same(x, y segment, pos, end uint64) (bool, error) {
	if p, ok := x.plain(pos, end); ok {
		if q, ok := y.plain(pos, end); ok {
			return bytes.Equal(p, q), nil
		}
	}
	if err := r.open(); err != nil {
		return false, err
	}
	size := uint64(firstRead)
	for pos < end {
		if err := r.ctx.Err(); err != nil {
			return false, err
		}
		size = min(size, end-pos)
		same, err := r.sameBytes(int64(pos), int(size))
		if err != nil || !same {
			return false, err
		}
		pos, size = pos+size, largeRead
	}
	return true, nil
}

// open opens both files.
func (r *contentReader) open() error {
	if r.b != nil {
		return nil
	}
	for _, f := range []struct {
		on   *side
		n    inode
		into **os.File
	}{{r.base, r.before, &r.a}, {r.root, r.now, &r.b}} {
		up, err := f.on.place(f.n.links[0].dir)
		if err != nil {
			return err
		}
		if *f.into, err = f.on.open(join(up.path, f.n.links[0].name), f.n.number); err != nil {
			return err
		}
	}
	return nil
}

// sameBytes compares what both files have at pos. One that ends earlier than it should was changed meanwhile.
func (r *contentReader) sameBytes(pos int64, size int) (bool, error) {
	if r.buffer == nil {
		r.buffer = make([]byte, 2*largeRead)
	}
	a, b := r.buffer[:size], r.buffer[largeRead:largeRead+size]
	for _, f := range []struct {
		file *os.File
		into []byte
	}{{r.a, a}, {r.b, b}} {
		_, err := f.file.ReadAt(f.into, pos)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, wrap("read", f.file.Name(), err)
		}
	}
	return bytes.Equal(a, b), nil
}
