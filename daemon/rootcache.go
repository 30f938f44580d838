package daemon

import (
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/dbus"
)

// cacheTime bounds how long a list is shown that nothing has spoken against: what changes unnoticed (mounts in other
// namespaces, the default subvolume) only bears on the reasons that are shown. What is deleted is judged afresh.
const cacheTime = 30 * time.Second

// rootCache keeps the list of roots as long as nothing has changed: a thousand old roots take ten milliseconds to read.
// Directories of old roots are watched, so that what others make, delete, rename or mark there is noticed, and told.
// Without a directory that can be watched, because the top level is mounted nowhere, nothing is kept.
type rootCache struct {
	log     dbus.Log
	changed func() // called when a watched directory has changed

	mu      sync.Mutex
	watcher *fsnotify.Watcher // nil: not yet, or it can't be had
	changes uint64            // counts what may have made a list old
	places  []place
	kept    *listing // nil: none
	until   time.Time
}

func newRootCache(changed func(), log dbus.Log) *rootCache {
	return &rootCache{log: log, changed: changed}
}

// list returns the roots of places: the list that is kept, or what read reads. Nobody may change it.
func (c *rootCache) list(places []place, read func() (*listing, error)) (*listing, error) {
	c.mu.Lock()
	if c.kept != nil && time.Now().Before(c.until) && reflect.DeepEqual(places, c.places) {
		defer c.mu.Unlock()
		return c.kept, nil
	}
	watched := c.watch(places)
	before := c.changes
	c.kept = nil // as long as another is read, every event counts
	c.mu.Unlock()

	roots, err := read()
	if err != nil || !watched || len(roots.failed) > 0 {
		return roots, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == before {
		c.places, c.kept, c.until = places, roots, time.Now().Add(cacheTime)
	}
	return roots, nil
}

// forget drops the list that is kept.
func (c *rootCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.kept = nil
}

// watch watches the directories of old roots of places, and tells whether all are. A watch ends with its directory, and with the mount of its file
// system; one that is there stays. It needs mu.
func (c *rootCache) watch(places []place) bool {
	for _, p := range places {
		if p.top == "" {
			return false
		}
	}
	if c.watcher == nil {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			c.log.Warnw("watch old roots", "error", err)
			return false
		}
		c.watcher = watcher
		go c.follow(watcher)
	}
	for _, p := range places {
		if err := c.watcher.Add(filepath.Join(p.top, p.guards.Layout.OldRoots)); err != nil {
			return false // there is none yet
		}
	}
	return true
}

// follow tells of changes until the watcher is closed.
func (c *rootCache) follow(watcher *fsnotify.Watcher) {
	for {
		select {
		case event, ok := <-watcher.Events:
			if !ok {
				return
			}
			c.noticed(event)
		case err, ok := <-watcher.Errors: // events were lost
			if !ok {
				return
			}
			c.log.Warnw("watch old roots", "error", err)
			c.noticed(fsnotify.Event{})
		}
	}
}

// noticed deals with one change.
func (c *rootCache) noticed(event fsnotify.Event) {
	c.mu.Lock()
	passing := c.passing(filepath.Base(event.Name))
	c.mu.Unlock()
	if !passing {
		c.changed()
	}
}

// passing says whether a change of a name makes no difference to the list that is kept: a comparison makes a snapshot, and
// deletes it again, without anybody's reading all roots anew. It needs mu.
func (c *rootCache) passing(name string) bool {
	return c.kept != nil && btrfsops.IsUnfinished(name) &&
		!slices.ContainsFunc(c.kept.roots, func(r guardedRoot) bool { return r.Name == name })
}

// close ends the watch.
func (c *rootCache) close() {
	c.mu.Lock()
	watcher := c.watcher
	c.mu.Unlock()
	if watcher == nil {
		return
	}
	if err := watcher.Close(); err != nil {
		c.log.Warnw("end the watch of old roots", "error", err)
	}
}
