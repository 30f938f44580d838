package persist

import (
	"context"
	"fmt"
	"os"
	"time"
)

// mountTablePath is the mount table of this process.
const mountTablePath = "/proc/self/mountinfo"

// FollowMounts calls changed at once, and whenever the mount table of this process may have changed, until ctx ends. The kernel tells
// that as an exceptional condition of the file (proc_pid_mountinfo(5)), for which the runtime's poller wakes who waits to
// read.
func FollowMounts(ctx context.Context, changed func()) error {
	table, err := os.Open(mountTablePath)
	if err != nil {
		return fmt.Errorf("follow mounts: %w", err)
	}
	defer func() { _ = table.Close() }()
	raw, err := table.SyscallConn()
	if err != nil {
		return fmt.Errorf("follow mounts: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = table.SetReadDeadline(time.Unix(1, 0)) })()
	err = raw.Read(func(uintptr) (done bool) { // one wait after the other: what changes in between is not lost
		changed()
		return false
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow mounts: %w", err)
}
