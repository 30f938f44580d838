package persist

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// lockFile makes and locks a file as libmount does; closing the descriptor gives it back. It waits for who has the lock until ctx ends.
func lockFile(ctx context.Context, k *kernel, name string) (int, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, wrap("open", name, err)
	}
	err = lock(fd, unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return waitForLock(ctx, k, fd, name)
	}
	if err != nil {
		k.close(fd)
		return -1, wrap("lock", name, err)
	}
	return fd, nil
}

func lock(fd, flags int) error {
	return retry(func() error { return unix.Flock(fd, unix.LOCK_EX|flags) })
}

// waitForLock gives a descriptor back when it has the lock. Nothing but the lock ends flock(2): where ctx ends first, it is let go of as it comes.
func waitForLock(ctx context.Context, k *kernel, fd int, name string) (int, error) {
	locked := make(chan error)
	go func() {
		err := lock(fd, 0)
		select {
		case locked <- err:
		case <-ctx.Done():
			k.close(fd)
		}
	}()
	select {
	case err := <-locked:
		if err != nil {
			k.close(fd)
			return -1, wrap("lock", name, err)
		}
		return fd, nil
	case <-ctx.Done():
		return -1, wrap("lock", name, ctx.Err())
	}
}
