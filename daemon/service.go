package daemon

import (
	"context"
	"sync"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"

	"github.com/impermanence/impermanence/daemon/change"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/former"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// Carry does what a daemon asks for in the runtime directory, and answers there: it is what ChangeUnit runs. What went wrong
// with what was asked for is told in the answer; the error is about asking and answering.
func Carry(ctx context.Context, opts Options) error {
	request, err := change.ReadRequest(opts.RunDir)
	if err != nil {
		return err
	}
	reply := change.Carry(ctx, change.Options{Config: opts.Config, Sysroot: opts.Sysroot}, request)
	fields := []any{"deed", string(request.Deed), "target", request.Target, "dryRun", request.DryRun}
	if err := reply.Err(); err != nil {
		opts.Log.Warnw("nothing was changed", append(fields, "error", err)...)
	} else {
		opts.Log.Infow("done", append(fields, "done", reply.Done)...)
	}
	return change.WriteReply(opts.RunDir, reply)
}

// unwatched is how often is looked at files that are copied back and can't be watched: what there is for watching is shared by all
// programs of root.
const unwatched = 30 * time.Second

// CopyBack copies files back to their volumes as they change, until ctx ends: it is what CopyBackUnit runs. It is ready when
// all are watched, or looked at now and then. Without such a file it returns at once.
func CopyBack(ctx context.Context, opts Options) error {
	opts.sayWatched(nil)
	defer opts.sayWatched(nil)
	cfg, err := opts.loadCopied()
	if err != nil {
		return err
	}
	opts.sayWatched(copiesOf(cfg))
	roots := opts.formerRoots(cfg)
	defer roots.Close()
	ready := sync.OnceFunc(func() { opts.Notify(sdnotify.SdNotifyReady) })
	for {
		err := copyBack(ctx, opts.newCopyBack(cfg, roots), ready)
		if err == nil || ctx.Err() != nil {
			return err
		}
		opts.Log.Errorw("what is copied back is not watched, and only looked at now and then", "error", err, "every", unwatched)
		ready()
		select {
		case <-ctx.Done():
		case <-time.After(unwatched):
		}
	}
}

// copyBack does so until it can't watch any more.
func copyBack(ctx context.Context, c *persist.CopyBack, ready func()) error {
	if !c.Watches() {
		ready()
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	select {
	case <-c.Ready():
		ready()
		return <-ended
	case err := <-ended:
		return err
	}
}

// CopyLast copies back what has changed, once: it is what is done at the end of a boot, when all that could still
// write is gone.
func CopyLast(ctx context.Context, opts Options) error {
	cfg, err := opts.loadCopied()
	if err != nil {
		return err
	}
	roots := opts.formerRoots(cfg)
	defer roots.Close()
	return opts.newCopyBack(cfg, roots).Once(ctx)
}

// loadCopied reads what files are copied back.
func (o Options) loadCopied() (*config.Config, error) {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return nil, err
	}
	if err := config.AddRecorded(o.Sysroot, cfg); err != nil {
		o.Log.Errorw("not all that was recorded on volumes is copied back", "error", err)
	}
	return cfg, nil
}

// newCopyBack knows the roots that entries are still to be taken from: what early boot could not take from there is not made of what this root has.
func (o Options) newCopyBack(cfg *config.Config, roots *former.Roots) *persist.CopyBack {
	opts := cfg.In(o.Sysroot)
	opts.Former, opts.Done = roots.Named, func(r persist.Result) { logCopy(o.Log, r) }
	return persist.NewCopyBack(opts, cfg.Entries(), 0)
}

func logCopy(log dbus.Log, r persist.Result) {
	fields := []any{"target", r.Target, "source", r.Source}
	if r.Err != nil {
		log.Errorw("not copied back", append(fields, "error", r.Err)...)
		return
	}
	log.Infow("copied back", fields...)
}
