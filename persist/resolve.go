package persist

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// resolver opens directories of the root being booted. What it hands out are file descriptors of real directories: no
// symlink is followed, except one that only root can have put there (/var/run, a /home that is a link). It keeps what it
// opened, and what was missing, since entries come in the order of their paths.
type resolver struct {
	k             *kernel
	root          int            // the root being booted
	recent, older map[string]int // what is open: used lately, and before that
	missing       map[string]error
}

// maxOpen bounds the directories that are kept open: twice as many.
const maxOpen = 128

// maxLinks bounds the symlinks on one path, as the kernel does.
const maxLinks = 40

func newResolver(k *kernel, sysroot string) (*resolver, error) {
	fd, err := unix.Open(sysroot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, wrap("open root", sysroot, err)
	}
	return &resolver{k: k, root: fd, recent: map[string]int{}, older: map[string]int{}, missing: map[string]error{}}, nil
}

func (r *resolver) close() {
	r.forget()
	r.k.close(r.root)
}

// forget closes what is kept: after a mount, paths may lead elsewhere.
func (r *resolver) forget() {
	for _, kept := range []map[string]int{r.recent, r.older} {
		for _, fd := range kept {
			r.k.close(fd)
		}
		clear(kept)
	}
	clear(r.missing)
}

// made tells that a directory is there now that may have been missing.
func (r *resolver) made(p string) { delete(r.missing, p) }

// keep remembers a directory. When there are many, those are closed that were not used for long.
func (r *resolver) keep(p string, fd int) {
	if len(r.recent) >= maxOpen {
		for _, old := range r.older {
			r.k.close(old)
		}
		clear(r.older)
		r.recent, r.older = r.older, r.recent
	}
	r.recent[p] = fd
}

// parent opens the directory that a path is in and gives it with the path's last name. The resolver keeps the descriptor.
func (r *resolver) parent(p string) (int, string, error) {
	dir, name := path.Split(p)
	fd, err := r.dir(path.Clean(dir))
	return fd, name, err
}

// stat looks at a path without following the last name.
func (r *resolver) stat(p string) (unix.Statx_t, error) {
	dir, name, err := r.parent(p)
	if err != nil {
		return unix.Statx_t{}, err
	}
	return r.k.stat(dir, name)
}

// readFile reads a small regular file.
func (r *resolver) readFile(p string) ([]byte, error) {
	dir, name, err := r.parent(p)
	if err != nil {
		return nil, err
	}
	fd, err := r.k.open(dir, name, openFlags)
	if err != nil {
		return nil, err
	}
	defer r.k.close(fd)
	st, err := r.k.stat(fd, "")
	if err != nil {
		return nil, err
	}
	const largest = 64 << 20
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > largest {
		return nil, fmt.Errorf("read %s: %w", p, ErrWrongKind)
	}
	data := make([]byte, st.Size)
	n, err := readAt(fd, data, 0)
	return data[:n], wrap("read", p, err)
}

// dir opens a directory by its absolute path. The resolver keeps the descriptor, for a while: it is to be used before dir is
// called maxOpen more times.
func (r *resolver) dir(p string) (int, error) {
	if p == "/" {
		return r.root, nil
	}
	if fd, ok := r.recent[p]; ok {
		return fd, nil
	}
	if fd, ok := r.older[p]; ok {
		delete(r.older, p)
		r.keep(p, fd)
		return fd, nil
	}
	if err := r.missing[p]; err != nil {
		return -1, err
	}
	const flags = unix.O_PATH | unix.O_DIRECTORY
	fd, err := r.k.open(r.root, p[1:], flags)
	if errors.Is(err, unix.ELOOP) {
		fd, err = r.walk(p)
	}
	if errors.Is(err, unix.ENOENT) {
		r.missing[p] = err
	}
	if err != nil {
		return -1, err
	}
	r.keep(p, fd)
	return fd, nil
}

// walk opens a directory whose path leads over symlinks, name by name, and follows those that can be trusted.
func (r *resolver) walk(p string) (int, error) {
	todo := strings.Split(p[1:], "/")
	real := "/"
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			real = path.Dir(real)
			continue
		}
		text, err := r.trustedLink(real, name)
		if err != nil {
			return -1, fmt.Errorf("%s: %w", p, err)
		}
		if text == "" {
			real = path.Join(real, name)
			continue
		}
		if links++; links > maxLinks {
			return -1, wrap("open", p, unix.ELOOP)
		}
		if path.IsAbs(text) {
			real = "/"
		}
		todo = append(strings.Split(text, "/"), todo...)
	}
	if real == "/" {
		return r.k.open(r.root, ".", unix.O_PATH|unix.O_DIRECTORY)
	}
	return r.k.open(r.root, real[1:], unix.O_PATH|unix.O_DIRECTORY)
}

// trustedLink gives the text of a symlink in a real directory, or nothing when the name is no symlink. It refuses a link
// that somebody else than root could have made.
func (r *resolver) trustedLink(dir, name string) (string, error) {
	fd, err := r.k.open(r.root, "."+dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer r.k.close(fd)
	link, err := r.k.open(fd, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer r.k.close(link)
	st, err := r.k.stat(link, "")
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", err
	}
	holder, err := r.k.stat(fd, "")
	if err != nil {
		return "", err
	}
	const sticky, othersWrite = unix.S_ISVTX, 0o022
	if st.Uid != 0 || holder.Uid != 0 || holder.Mode&othersWrite != 0 && holder.Mode&sticky == 0 {
		return "", fmt.Errorf("%s: %w", path.Join(dir, name), ErrUnsafePath)
	}
	return r.k.readLink(link, "")
}
