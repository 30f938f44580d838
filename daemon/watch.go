package daemon

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// watchRest is the least time between two looks at what others changed; a look that took long is followed by ten times as
// long a rest.
const watchRest = time.Second

// watch looks again when others have changed mounts or configuration files, and tells what is different; it prunes when
// there is too little room. It ends with ctx. Old roots that others make and delete are followed by [rootCache].
func (d *Daemon) watch(ctx context.Context) {
	mounts, files := make(chan struct{}, 1), make(chan struct{}, 1)
	go func() {
		if err := persist.FollowMounts(ctx, func() { signal(mounts) }); err != nil {
			d.log.Warnw("mounts that others make are seen only by Rescan", "error", err)
		}
	}()
	configuration := d.newConfigWatch(func() { signal(files) })
	defer configuration.close()
	d.compareConfiguration() // what changed before it was watched
	space := time.NewTicker(spaceInterval)
	defer space.Stop()
	for {
		var begun time.Time
		select {
		case <-ctx.Done():
			return
		case <-mounts: // the configuration may be another now, too
			begun = time.Now()
			d.lookAgain(ctx)
			configuration.follow()
			d.compareConfiguration()
		case <-files:
			begun = time.Now()
			configuration.follow()
			d.compareConfiguration()
		case <-space.C:
			d.checkSpace(time.Now())
			continue
		}
		rest := time.NewTimer(max(watchRest, 10*time.Since(begun)))
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		rest.Stop()
	}
}

// watching watches, and looks for sizes and losses, until the function that it returns is called.
func (d *Daemon) watching(ctx context.Context) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { d.watch(ctx) })
	working.Go(func() { d.findSizes(ctx) })
	working.Go(func() { d.findLosses(ctx) })
	working.Go(func() { d.watchCopies(ctx) }) // what is copied back may be other than before this daemon was started
	return func() {
		stop()
		working.Wait()
	}
}

// signal leaves word, unless there is word already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// lookAgain looks at what hangs on mounts: entries, the root, and what protects old roots.
func (d *Daemon) lookAgain(ctx context.Context) {
	if err := d.look(ctx); err != nil && ctx.Err() == nil {
		d.log.Warnw("look around after a change of mounts", "error", err)
	}
	d.tell(dbus.EverythingChanged)
}

// compareConfiguration finds out whether the configuration files are those that were read.
func (d *Daemon) compareConfiguration() {
	now, err := d.opts.Config.Contents()
	d.mu.Lock()
	needed := err != nil || now != d.contents
	changed := needed != d.reloadNeeded
	d.reloadNeeded = needed
	d.mu.Unlock()
	if changed {
		d.tell(dbus.ManagerChanged)
	}
}

// configWatch follows the directories that configuration files are in, or will be.
type configWatch struct {
	log     dbus.Log
	dirs    []string
	watcher *fsnotify.Watcher // nil when there is none to be had
}

// newConfigWatch returns a watch that calls changed after every change.
func (d *Daemon) newConfigWatch(changed func()) *configWatch {
	c := &configWatch{log: d.log, dirs: d.opts.Config.Dirs()}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warnw("changes of the configuration are seen only by Reload", "error", err)
		return c
	}
	c.watcher = watcher
	go func() {
		for range watcher.Errors { // events were lost
			changed()
		}
	}()
	go func() {
		for range watcher.Events {
			changed()
		}
	}()
	c.follow()
	return c
}

// follow watches each directory, or the nearest one above it that is there. What is watched already stays so.
func (c *configWatch) follow() {
	if c.watcher == nil {
		return
	}
	for _, dir := range c.dirs {
		err := c.watcher.Add(dir)
		for os.IsNotExist(err) && dir != "/" && dir != "." {
			dir = filepath.Dir(dir)
			err = c.watcher.Add(dir)
		}
		if err != nil {
			c.log.Warnw("watch the configuration", "directory", dir, "error", err)
		}
	}
}

func (c *configWatch) close() {
	if c.watcher != nil {
		_ = c.watcher.Close() // it ends in any case
	}
}
