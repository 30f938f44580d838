package daemon

import (
	"sync"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/dbus"
)

// lingering is how long a file system stays open after its last use. Open, it keeps its device busy without anyone seeing
// why; closed, the next use pays for a mount.
const lingering = 10 * time.Second

// filesystems opens top levels when they are needed, and closes them when nobody has used them for a while.
type filesystems struct {
	log    dbus.Log
	opener func(place) (topLevel, error)

	mu   sync.Mutex
	open map[string]*openFilesystem // by device
}

type openFilesystem struct {
	topLevel
	users int
	idle  *time.Timer // closes it; runs while users is 0
}

// topLevel is an open file system and how it is closed.
type topLevel struct {
	*btrfsops.Filesystem
	close func() error
}

func newFilesystems(log dbus.Log) *filesystems {
	return &filesystems{log: log, opener: openTopLevel, open: map[string]*openFilesystem{}}
}

// use calls f with the file system of a place.
func (fs *filesystems) use(p place, f func(*btrfsops.Filesystem) error) error {
	o, err := fs.acquire(p)
	if err != nil {
		return err
	}
	defer fs.release(p.device, o)
	return f(o.Filesystem)
}

func (fs *filesystems) acquire(p place) (*openFilesystem, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	o := fs.open[p.device]
	if o == nil {
		opened, err := fs.opener(p)
		if err != nil {
			return nil, err
		}
		o = &openFilesystem{topLevel: opened}
		fs.open[p.device] = o
	}
	if o.idle != nil {
		o.idle.Stop()
	}
	o.users++
	return o, nil
}

// openTopLevel opens the file system of a place: where its top level is mounted, else by a mount that only this process
// has.
func openTopLevel(p place) (topLevel, error) {
	var fs *btrfsops.Filesystem
	var err error
	if p.top != "" {
		fs, err = btrfsops.OpenMounted(p.top)
	} else {
		fs, err = btrfsops.OpenDevice(p.device)
	}
	if err != nil {
		return topLevel{}, err
	}
	return topLevel{fs, fs.Close}, nil
}

func (fs *filesystems) release(device string, o *openFilesystem) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	o.users--
	if o.users == 0 {
		o.idle = time.AfterFunc(lingering, func() { fs.closeIdle(device) })
	}
}

// closeIdle closes the file system of device unless somebody uses it.
func (fs *filesystems) closeIdle(device string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	o := fs.open[device]
	if o == nil || o.users > 0 {
		return
	}
	o.idle.Stop()
	delete(fs.open, device)
	if err := o.close(); err != nil {
		fs.log.Warnw("close file system", "device", device, "error", err)
	}
}

// close closes every file system that nobody uses.
func (fs *filesystems) close() {
	fs.mu.Lock()
	devices := make([]string, 0, len(fs.open))
	for device := range fs.open {
		devices = append(devices, device)
	}
	fs.mu.Unlock()
	for _, device := range devices {
		fs.closeIdle(device)
	}
}
