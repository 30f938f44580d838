package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
)

// rollover rolls every configured root over, records what happened, and returns the exit code.
func rollover(ctx context.Context, o options, c cmdline, log *logger) int {
	b := boot{options: o, cmdline: c, log: log}
	records, emergency := b.rollover(ctx)
	if err := btrfsops.WriteBootRecords(o.runDir, b.withEarlier(records)); err != nil {
		log.error("%v; status will not know of this boot", err)
	}
	if err := writeVolumes(o.runDir, b.volumes); err != nil {
		log.warning("%v; the initrd mounts them", err)
	}
	code := exitDone
	for _, record := range records {
		b.tell(record)
		if record.Outcome == btrfsops.OutcomeFailed {
			code = exitFailed
		}
	}
	if !emergency {
		return code
	}
	if o.isolateEmergency {
		b.isolateEmergency(ctx)
	}
	return exitEmergency
}

// isolateEmergency stops the boot. It is for this program to do: a command that the unit has for when it stopped would run at each boot, as
// the root's systemd stops what it does not want from the initrd, beside what that boot waits for.
func (b *boot) isolateEmergency(ctx context.Context) {
	if out, err := exec.CommandContext(ctx, "systemctl", "--no-block", "isolate", "emergency.target").CombinedOutput(); err != nil {
		b.log.error("isolate emergency.target: %v: %s; the boot goes on", err, bytes.TrimSpace(out))
	}
}

// withEarlier puts back what a run earlier in this boot recorded where this one only found it done, or came too late.
func (b *boot) withEarlier(records []btrfsops.BootRecord) []btrfsops.BootRecord {
	earlier, err := btrfsops.ReadBootRecords(filepath.Join(b.runDir, btrfsops.BootRecordName))
	if err != nil {
		return records // the first run
	}
	kept := slices.Clone(records)
	for i, record := range kept {
		for _, first := range earlier {
			after := record.Report.Already || slices.Contains(b.mounted, record.MountPoint)
			if after && first.MountPoint == record.MountPoint && first.BootID == b.id {
				kept[i] = first
			}
		}
	}
	return kept
}

// boot is one run of rollover.
type boot struct {
	options
	cmdline
	log    *logger
	id     string
	config *config.Config
	fstab  fstab.Table // of the root of "/", as it was before it is rolled over

	volumes fstab.Table // lines of the fresh root's that persist is to mount
	mounted []string    // mount points whose roots are mounted already

	awaitUntil time.Time // when no device is waited for any more; zero: none was
}

// rollover returns a record for each ephemeral mount point, and whether a failure is to stop the boot.
func (b *boot) rollover(ctx context.Context) (records []btrfsops.BootRecord, emergency bool) {
	if err := b.prepare(); err != nil {
		return []btrfsops.BootRecord{failed(b.record("/"), err)}, false
	}
	if len(b.config.Ephemeral) == 0 {
		b.log.info("no ephemeral mount point is configured: nothing to roll over")
	}
	for _, e := range b.config.Ephemeral {
		record := b.record(e.MountPoint)
		if err := b.rollOver(ctx, e, &record); err != nil {
			record = failed(record, err)
			emergency = emergency || (record.Outcome == btrfsops.OutcomeFailed && e.OnFailure == config.Emergency)
			if errors.Is(err, btrfsops.ErrRootMounted) {
				b.mounted = append(b.mounted, e.MountPoint)
			}
		}
		records = append(records, record)
	}
	return records, emergency
}

func (b *boot) record(mountPoint string) btrfsops.BootRecord {
	return btrfsops.BootRecord{MountPoint: mountPoint, BootID: b.id, Time: time.Now().UTC()}
}

// failed puts an error into a record. When the root is fresh all the same, or was kept as somebody asked, it stays so.
func failed(record btrfsops.BootRecord, err error) btrfsops.BootRecord {
	record.Error = err.Error()
	if record.Outcome == "" {
		record.Outcome = btrfsops.OutcomeFailed
	}
	return record
}

func (b *boot) prepare() (err error) {
	if b.id, err = btrfsops.BootID(); err != nil {
		return err
	}
	b.config, err = config.Load(config.LoadOptions{Path: b.options.config})
	return err
}

// rollOver does what this boot is to do with one root, and fills in the record.
func (b *boot) rollOver(ctx context.Context, e config.Ephemeral, record *btrfsops.BootRecord) error {
	if b.off {
		record.Outcome, record.Reason = btrfsops.OutcomeSkipped, "impermanence=off on the kernel command line"
		return nil
	}
	if err := b.checkHibernation(); err != nil {
		return err
	}
	device, err := b.deviceOf(e)
	if err != nil {
		return err
	}
	b.await(ctx, e, device)
	record.Device = device
	mount := b.rootMount(e)
	options, keep := b.keptOptions(e, mount)
	fs, err := btrfsops.OpenDevice(device, options...)
	if errors.Is(err, btrfsops.ErrDiskMissing) {
		return fmt.Errorf("%w: to go on without it, put degraded into rootflags=, or into the options of %s in fstab; then replace it, as btrfs-replace(8) says", err, e.MountPoint)
	}
	if err != nil {
		return err
	}
	err = b.onFilesystem(ctx, fs, e, mount, record)
	if keep && err == nil && record.Report.Fresh != 0 {
		b.leaveMounted(fs)
	}
	return errors.Join(err, fs.Close())
}

// deviceOf finds the device: of the flag, the configuration, or the kernel command line.
func (b *boot) deviceOf(e config.Ephemeral) (string, error) {
	for _, spec := range []string{b.device, e.Device, b.root} {
		if spec != "" {
			return btrfsops.ResolveDevice(spec)
		}
	}
	return "", fmt.Errorf("no device for %q: set ephemeral.%q.device, or root= on the kernel command line", e.MountPoint, e.MountPoint)
}

// onFilesystem keeps or rolls over, as the kernel command line (first) or the request on the file system says.
func (b *boot) onFilesystem(ctx context.Context, fs *btrfsops.Filesystem, e config.Ephemeral, mount btrfsops.RootMount, record *btrfsops.BootRecord) error {
	layout := btrfsops.Layout{Root: e.Subvolume, OldRoots: e.OldRoots, Template: e.Template}
	if e.MountPoint == "/" { // the first
		b.fstab = readFstab(fs, layout)
	}
	what, why, err := b.wanted(fs, layout, e)
	if err != nil {
		return err
	}
	if what == btrfsops.NextKeep {
		record.Outcome, record.Reason = btrfsops.OutcomeKept, why
		if b.keep { // a request on the file system waits for the next boot
			return nil
		}
		if err := fs.ForgetNextBoot(layout); err != nil {
			return fmt.Errorf("the next boot keeps the root too: %w", err)
		}
		return nil
	}
	persistent, err := b.persistentIn(fs, layout, e)
	if err != nil {
		return err
	}
	if what == btrfsops.NextFresh && e.MountPoint == "/" {
		if err := checkModules(fs, layout); err != nil {
			return err
		}
	}
	options := btrfsops.RolloverOptions{Layout: layout, BootID: b.id, Now: time.Now(), Persistent: persistent, Mount: mount}
	done := btrfsops.OutcomeFresh
	if what != btrfsops.NextFresh {
		options.From, done = what, btrfsops.OutcomeRestored
	}
	record.Report, err = fs.Rollover(ctx, options)
	if errors.Is(err, btrfsops.ErrNoSuchRoot) && b.oldRoot == "" { // what was asked for once must not cost every boot its fresh root
		err = errors.Join(fmt.Errorf("%w (%s)", err, why), fs.ForgetNextBoot(layout))
	}
	switch {
	case record.Report.Fresh != 0:
		record.Outcome, record.Reason = done, why
	case record.Report.Already:
		record.Outcome, record.Reason = btrfsops.OutcomeSkipped, "it was rolled over earlier in this boot"
	}
	if e.MountPoint == "/" && err == nil && record.Report.Fresh != 0 && mount.From != "" && !b.cmdline.fstab {
		b.volumes = volumesOf(fs, layout)
	}
	return err
}

// wanted says what to do with a root, and who asked for it: NextFresh, NextKeep or the name of an old root.
func (b *boot) wanted(fs *btrfsops.Filesystem, layout btrfsops.Layout, e config.Ephemeral) (what, why string, err error) {
	switch {
	case b.keep:
		return btrfsops.NextKeep, "impermanence=keep on the kernel command line", nil
	case b.oldRoot != "" && e.MountPoint == "/":
		return b.oldRoot, "impermanence.root= on the kernel command line", nil
	}
	what, err = fs.NextBoot(layout)
	if what != btrfsops.NextFresh {
		why = "asked for with impermanence next"
	}
	return what, why, err
}

// persistentIn lists paths in a root that must not become part of an old root: where persistent volumes are or are mounted
// from, and what is configured as ephemeral itself.
func (b *boot) persistentIn(fs *btrfsops.Filesystem, layout btrfsops.Layout, e config.Ephemeral) ([]string, error) {
	var inside []string
	for _, v := range b.config.Volumes {
		if rel, ok := below(v.Path, e.MountPoint); ok {
			inside = append(inside, rel)
		}
	}
	elsewhere, err := mountedSubvolumes(fs, b.fstab)
	if err != nil {
		return nil, err
	}
	for _, other := range b.config.Ephemeral {
		elsewhere = append(elsewhere, other.Subvolume, other.OldRoots)
		if other.Template != "" {
			elsewhere = append(elsewhere, other.Template)
		}
	}
	for _, subvolume := range elsewhere {
		if rel, ok := below("/"+subvolume, "/"+layout.Root); ok {
			inside = append(inside, rel)
		}
	}
	return inside, nil
}

// below returns p relative to dir when it lies below it. Both are absolute.
func below(p, dir string) (string, bool) {
	rel, found := strings.CutPrefix(path.Clean(p), strings.TrimSuffix(path.Clean(dir), "/")+"/")
	return rel, found && rel != ""
}

// tell logs what became of one root.
func (b *boot) tell(record btrfsops.BootRecord) {
	where := record.MountPoint
	if record.Report.Recovered != "" {
		b.log.warning("%s: %s", where, record.Report.Recovered)
	}
	switch record.Outcome {
	case btrfsops.OutcomeFresh, btrfsops.OutcomeRestored:
		b.log.info("%s: %s root (subvolume %d) after %s", where, record.Outcome, record.Report.Fresh, record.Report.Duration.Round(100*time.Microsecond))
		if record.Report.OldRoot != "" {
			b.log.info("%s: the former root is now %s", where, record.Report.OldRoot)
		}
		if record.Error != "" {
			b.log.warning("%s: %s; the next boot will put it right", where, record.Error)
		}
	case btrfsops.OutcomeFailed:
		b.log.error("%s: %s; the former root stays", where, record.Error)
	case btrfsops.OutcomeKept, btrfsops.OutcomeSkipped:
		b.log.info("%s: the root is kept: %s", where, record.Reason)
		if record.Error != "" {
			b.log.warning("%s: %s", where, record.Error)
		}
	}
}
