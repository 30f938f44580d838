package main

import (
	"context"
	"os"
	"time"

	"github.com/impermanence/impermanence/daemon/config"
)

// The initrd waits for the device of the root, and for no other. A second disk may be there later: one that turns, beside one that does not.
const (
	deviceWait = 20 * time.Second // for all that are late together: the initrd ends a rollover after 60
	devicePoll = 20 * time.Millisecond
)

// await waits until the device of a mount point other than "/" is there, for as long as is left of deviceWait. It looks again and again, as who
// makes the device's name, and the directory of that, differs from initrd to initrd.
func (b *boot) await(ctx context.Context, e config.Ephemeral, device string) {
	missing := func() bool { _, err := os.Stat(device); return os.IsNotExist(err) }
	if e.MountPoint == "/" || !missing() || len(b.mounted) > 0 { // the last: a second start, of a unit that failed
		return
	}
	b.log.info("%s: waiting for %s", e.MountPoint, device)
	if b.awaitUntil.IsZero() {
		b.awaitUntil = time.Now().Add(deviceWait)
	}
	ctx, cancel := context.WithDeadline(ctx, b.awaitUntil)
	defer cancel()
	poll := time.NewTicker(devicePoll)
	defer poll.Stop()
	for missing() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}
