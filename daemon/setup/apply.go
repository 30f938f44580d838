package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/daemon/template"
	"github.com/impermanence/impermanence/persist"
)

// Machine is a machine to be set up.
type Machine struct {
	Root string            // where its root is mounted; "/" for the running one
	Out  io.Writer         // what programs that are run print
	Step func(Step)        // told of each step before it is done; may be nil
	Note func(text string) // told of what a person has to know; may be nil
}

// Apply does what a plan says. Interrupted at any point, it may be begun again from new facts.
func (m Machine) Apply(ctx context.Context, f Facts, p Plan) error {
	if err := p.Check(m.Root); err != nil {
		return err
	}
	if p.Resumed && len(p.Steps) > 0 && p.Steps[0].Op == WriteRecord {
		p.Steps = p.Steps[1:]
	}
	if err := m.work(ctx, f, p.Record, p.Steps); err != nil || len(p.Record.Grub) == 0 {
		return err
	}
	return m.lookAtGrub(f, p.Record)
}

// lookAtGrub tells of a configuration that GRUB's tool has made anew, and that boots the root as before: it makes it of more than what was changed.
func (m Machine) lookAtGrub(f Facts, r Record) error {
	files, err := machine.BootFiles(m.Root)
	for _, file := range files {
		asBefore := func(line string) bool {
			ours, fresh := f.boots(line, r.Layout.Root)
			return ours && !fresh
		}
		if file.Form == machine.GrubConfig && slices.ContainsFunc(file.Lines, asBefore) && m.Note != nil {
			m.Note(fmt.Sprintf("%s still boots the root without rootflags=subvol=%s: find what else says how (grep -r rootflags /etc/default/grub* /etc/grub.d), change that, then %s",
				file.Path, r.Layout.Root, strings.Join(r.Grub, " ")))
		}
	}
	return err
}

// work does steps.
func (m Machine) work(ctx context.Context, f Facts, r Record, steps []Step) (err error) {
	top, err := btrfsops.OpenDevice(f.Mounts[0].Source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	w := &worker{Machine: m, facts: f, record: r, top: top}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if m.Step != nil {
			m.Step(step)
		}
		if err := w.do(ctx, step); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	return nil
}

// worker does the steps of one machine.
type worker struct {
	Machine
	facts  Facts
	record Record
	top    *btrfsops.Filesystem
}

func (w *worker) tell(format string, args ...any) {
	if w.Note != nil {
		w.Note(fmt.Sprintf(format, args...))
	}
}

func (w *worker) do(ctx context.Context, s Step) error {
	switch s.Op {
	case WriteRecord:
		return w.record.write(w.Root)
	case MakeVolume:
		return w.makeVolume()
	case MakeOldRoots:
		return w.top.MakeOldRoots(w.record.Layout)
	case WriteFile:
		return writeFile(w.Root, s.Path, s.Text, 0o644)
	case EnableUnits:
		return w.systemctl(ctx, "enable", s.Names)
	case RunCommand:
		return machine.RunIn(ctx, w.Root, w.Out, s.Names...)
	case MakeTemplate:
		return w.makeTemplate(ctx)
	case PutBack:
		return w.putBack(ctx)
	case RemoveTemplate:
		return w.removeTemplate(ctx)
	case RestoreFile:
		return w.restore(s.Path)
	case DisableUnits:
		return w.systemctl(ctx, "disable", s.Names)
	case RemoveVolume:
		return w.removeVolume()
	case SetAside:
		return w.setAside(s.Path)
	case RemoveOldRoots:
		return w.removeOldRoots()
	case RemoveRecord:
		return w.removeRecord()
	}
	return errors.New("unknown step")
}

// systemctl changes what is started at boot, without the running systemd.
func (w *worker) systemctl(ctx context.Context, verb string, units []string) error {
	args := append([]string{"--root=" + w.Root, "--quiet", verb}, units...)
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", verb, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// makeTemplate copies the root and commits the copy as the template, when what is to persist is on the volume. The copy does not
// change while it is read, so a program that writes meanwhile harms nothing. A crash leaves no template, or all of it.
func (w *worker) makeTemplate(ctx context.Context) error {
	if _, err := w.top.SubvolumeAt(w.record.Layout.Template); !errors.Is(err, fs.ErrNotExist) {
		return err // made before the set-up was interrupted
	}
	staged, err := w.top.StageTemplate(ctx, w.record.Layout, btrfsops.FromRoot)
	if err != nil {
		return err
	}
	defer staged.Close()
	seeded, err := w.fill(ctx, staged)
	if err == nil {
		// Where the volume is not mounted: nothing on it can be taken for a part of the root.
		err = machine.Mounted(ctx, w.facts.Mounts[0].Source, fmt.Sprint("subvolid=", staged.ID()), func(dir string) error {
			return template.Clean(dir, seeded)
		})
	}
	if err != nil {
		return errors.Join(err, staged.Drop())
	}
	return staged.Commit(ctx)
}

// inView mounts a root subvolume with a volume in it, apart from everything that the running machine has mounted, and reads the
// configuration in it. f is told where that is, with the options to work there, and the entries on the volume.
func (w *worker) inView(ctx context.Context, id btrfsops.SubvolumeID, volume string, f func(dir string, opts persist.Options, entries []persist.Entry) error) error {
	device := w.facts.Mounts[0].Source
	return machine.Mounted(ctx, device, fmt.Sprint("subvolid=", id), func(dir string) error {
		return machine.MountedAt(ctx, device, "subvol=/"+volume, filepath.Join(dir, w.record.Point), func(string) error {
			c, err := config.Load(config.LoadOptions{Root: dir})
			if err != nil {
				return err
			}
			if err := config.AddRecorded(dir, c); err != nil {
				return err
			}
			onVolume := slices.DeleteFunc(c.Entries(), func(e persist.Entry) bool { return e.Volume != w.record.Point })
			return f(dir, c.In(dir), onVolume)
		})
	})
}
