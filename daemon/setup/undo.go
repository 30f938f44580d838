package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/daemon/machine"
)

// PlanUndo decides what gives the machine back its permanent root: the root that runs stays, with what is kept on the volume
// copied into it. It is pure.
func PlanUndo(f Facts, o Options) (Plan, error) {
	if f.Record == nil {
		return Plan{}, ErrNotSetUp
	}
	if root := f.Mounts[0].Subvolume; strings.HasPrefix(root, f.Record.Layout.OldRoots+"/") {
		return Plan{}, fmt.Errorf("%w: %q is an old root: undo it in %q, which is the root", ErrLayout, root, f.Record.Layout.Root)
	}
	var aside []string
	p := Plan{Record: *f.Record}
	for _, name := range f.Dependent {
		if path.Dir(name) == localLists {
			aside = append(aside, name)
			continue
		}
		p.Notes = append(p.Notes, fmt.Sprintf("%[1]s is about what there will be no more: remove what brought it, or ln -s /dev/null %[2]s, and build the initrd again",
			name, path.Join(localLists, path.Base(name))))
	}
	p.Notes = append(p.Notes, f.leftElsewhere(aside)...)
	p.Steps = f.Record.undoSteps(aside, o.NoInitrd)
	if f.volumeMounted() {
		p.Notes = append(p.Notes, "programs that run go on with the files that they have open on the volume, and what they write there is not in the root: end them before, and restart the machine after it")
	}
	if f.booted() {
		p.Notes = append(p.Notes, fmt.Sprintf("the machine was booted since: the subvolume %q stays with what is kept on it, and so do the old roots", f.Record.Volume))
	}
	return p, nil
}

// leftElsewhere notes what is kept on other volumes by files of the configuration that are read no more.
func (f *Facts) leftElsewhere(aside []string) []string {
	former := 0 // lines that come back, which a set-up leaves at the beginning
	if c, _ := f.Record.change(configFile); c.Former != nil && strings.HasPrefix(f.Files[configFile], strings.TrimRight(*c.Former, "\n")) {
		former = strings.Count(*c.Former, "\n") + 1
	}
	var notes []string
	files := append(slices.Clone(aside), configFile)
	for _, e := range f.Config.Entries() {
		i := slices.IndexFunc(files, func(file string) bool { return strings.HasSuffix(e.Origin.File, file) })
		if e.Volume == f.Record.Point || i < 0 || files[i] == configFile && e.Origin.Line <= former {
			continue
		}
		notes = append(notes, fmt.Sprintf("%s is kept on %s by %s, which is read no more: it stays there, and is not put back", e.Target, e.Volume, files[i]))
	}
	return notes
}

// booted tells whether the root is another than the one that was set up: then the volume has what the root lacks.
func (f *Facts) booted() bool { return f.RootID != f.Record.RootID }

// volumeMounted tells whether the volume, or something on it, is mounted in the machine.
func (f *Facts) volumeMounted() bool {
	return slices.ContainsFunc(f.Mounts, func(m machine.Mount) bool { return m.Type == "btrfs" && m.Subvolume == f.Record.Volume })
}

// Undo does what PlanUndo says. Interrupted at any point, it may be begun again from new facts.
func (m Machine) Undo(ctx context.Context, f Facts, p Plan) error {
	return m.work(ctx, f, p.Record, p.Steps)
}

// restore gives a file its former text. What was changed in it since stays, line by line, and one that was removed stays away, as the
// loader entry of a kernel that is gone. A configuration that was changed is kept beside it, since the lines of a set-up alone mean nothing there.
func (w *worker) restore(name string) error {
	change, found := w.record.change(name)
	if !found {
		return nil
	}
	change = w.ofThisRoot(change)
	text, err := os.ReadFile(filepath.Join(w.Root, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now := string(text)
	switch {
	case err != nil, change.Former != nil && now == *change.Former:
		return nil
	case now == change.Written:
	case name == configFile:
		aside := w.asideFor(name, now)
		w.tell("%s was changed since the set-up: it is kept as %s", name, aside)
		if err := writeFile(w.Root, aside, now, 0o644); err != nil {
			return err
		}
	default:
		return writeFile(w.Root, name, change.takeOut(now), 0o644)
	}
	if change.Former == nil {
		return os.Remove(filepath.Join(w.Root, name))
	}
	return writeFile(w.Root, name, *change.Former, 0o644)
}

// ofThisRoot is a change whose former text boots and mounts the root that runs, where it named by its id the one that was set up: that is an old
// root since the machine was booted, and would be booted for ever, or is gone.
func (w *worker) ofThisRoot(change FileChange) FileChange {
	if change.Former == nil || !w.facts.booted() {
		return change
	}
	byID := regexp.MustCompile(fmt.Sprintf(`\bsubvolid=%d\b`, w.record.RootID))
	former := byID.ReplaceAllLiteralString(*change.Former, fmt.Sprintf("subvolid=%d", w.facts.RootID))
	change.Former = &former
	return change
}

// asideFor gives the first name beside a file that is free, or has this text already.
func (w *worker) asideFor(name, text string) string {
	aside := name + asideSuffix
	for i := 2; ; i++ {
		there, err := os.ReadFile(filepath.Join(w.Root, aside))
		if errors.Is(err, fs.ErrNotExist) || err == nil && string(there) == text {
			return aside
		}
		aside = fmt.Sprintf("%s%s-%d", name, asideSuffix, i)
	}
}

// takeOut undoes a change in a text that was changed since: lines that it added go, those that they replaced come back. Where the line that
// replaced one is no more, somebody has replaced or removed that.
func (c FileChange) takeOut(now string) string {
	removed, added := c.Lines()
	taken := make([]bool, len(added))
	var out []string
	for line := range strings.Lines(now) {
		i := 0
		for i < len(added) && (taken[i] || !sameLine(added[i], line)) {
			i++
		}
		switch {
		case i == len(added):
			out = append(out, line)
		case i < len(removed):
			out = append(out, removed[i])
			fallthrough
		default:
			taken[i] = true
		}
	}
	out = append(out, removed[min(len(added), len(removed)):]...)
	for i := range out[:max(0, len(out)-1)] {
		out[i] = strings.TrimSuffix(out[i], "\n") + "\n"
	}
	return strings.Join(out, "")
}

// sameLine compares lines, whether or not they end.
func sameLine(a, b string) bool { return strings.TrimSuffix(a, "\n") == strings.TrimSuffix(b, "\n") }

// Lines lists the lines that a change removes and adds.
func (c FileChange) Lines() (removed, added []string) {
	former := ""
	if c.Former != nil {
		former = *c.Former
	}
	return missingLines(former, c.Written), missingLines(c.Written, former)
}

// missingLines lists the lines of a text that another lacks.
func missingLines(text, in string) []string {
	have := slices.Collect(strings.Lines(in))
	var missing []string
	for line := range strings.Lines(text) {
		if i := slices.Index(have, line); i >= 0 {
			have = slices.Delete(have, i, i+1)
			continue
		}
		missing = append(missing, line)
	}
	return missing
}

// removeVolume deletes the volume when it surely has nothing but copies of what the root has: the root was not booted since, and
// nothing has changed the volume.
func (w *worker) removeVolume() error {
	info, err := w.volume(w.record.Volume)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	why, err := w.whyVolumeStays(info)
	if err != nil {
		return err
	}
	if why != "" {
		w.tell("the subvolume %q stays: %s; when nothing in it is needed any more: btrfs subvolume delete --subvolid %d MOUNTPOINT", w.record.Volume, why, info.ID)
		return nil
	}
	if err := w.top.RemoveSubvolume(w.record.Volume, info.ID); err != nil {
		return err
	}
	err = os.Remove(filepath.Join(w.Root, w.record.Point)) // only when empty
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// whyVolumeStays says why the volume may have what the root does not; "" for no reason.
func (w *worker) whyVolumeStays(volume btrfsops.Subvolume) (string, error) {
	switch {
	case w.facts.booted():
		return "the machine was booted since", nil
	case w.facts.volumeMounted():
		return "it is mounted", nil
	case w.inFstab():
		return "fstab mounts it", nil
	}
	if more, err := w.holdsMore(volume); err != nil || more {
		return "it was changed since", err
	}
	return "", nil
}

// inFstab tells whether fstab, restored, still mounts something at the volume's place: a line that somebody has changed stays.
func (w *worker) inFstab() bool {
	text, err := os.ReadFile(filepath.Join(w.Root, fstabFile))
	_, found := fstab.Parse(string(text)).At(w.record.Point)
	return err == nil && found
}

func (w *worker) removeOldRoots() error {
	gone, err := w.top.RemoveOldRoots(w.record.Layout)
	if err == nil && !gone {
		w.tell("old roots stay in %q", w.record.Layout.OldRoots)
	}
	return err
}

// undoneMark is on a volume that is left of a set-up that was undone: people go on in the root, and what is on it grows old.
const undoneMark = ".impermanence/undone"

func (w *worker) markUndone() error {
	volume := filepath.Join(w.top.Top(), w.record.Volume)
	if some, err := hasEntries(volume); err != nil || !some || !w.record.NewVolume && !w.facts.booted() {
		return err
	}
	file := filepath.Join(volume, undoneMark)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, nil, 0o600)
}

// noticeFile is what impermanence-login-notice.service has each login of this boot told.
const noticeFile = "/run/motd.d/impermanence.motd"

// removeRecord also removes the directory when nothing else is in it, and what is told of the set-up at login.
func (w *worker) removeRecord() error {
	if err := w.markUndone(); err != nil {
		return fmt.Errorf("mark the volume as left: %w", err)
	}
	for _, name := range []string{noticeFile, recordFile} {
		if err := os.Remove(filepath.Join(w.Root, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := os.Remove(filepath.Join(w.Root, filepath.Dir(recordFile)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) { // ErrExist stands for ENOTEMPTY as well
		return nil
	}
	return err
}
