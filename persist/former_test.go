package persist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// adopted is an entry that was recorded while the system ran.
func adopted(e Entry, m Method) Entry {
	e.Adopt, e.Method = true, m
	return e
}

// nextBoot boots with a fresh root, and gives options that know the former one.
func (m *machine) nextBoot() Options {
	m.t.Helper()
	former := filepath.Join(filepath.Dir(m.root), "former")
	m.boot()
	top := filepath.Join(filepath.Dir(m.root), "top")
	btrfstest.Mount(m.t, m.device, top, "subvolid=5")
	names, err := filepath.Glob(filepath.Join(top, "root*"))
	if err != nil || len(names) < 2 {
		m.t.Fatalf("roots: %q, %v", names, err)
	}
	if err := os.Symlink(names[len(names)-2], former); err != nil {
		m.t.Fatal(err)
	}
	opts := m.options()
	opts.Former = func(e Entry) (string, string, error) { return former, e.Target, nil }
	return opts
}

func TestAdoptedAtTheNextBootFromTheFormerRoot(t *testing.T) {
	for _, method := range []Method{Auto, Bind, Symlink, Copy} {
		for _, e := range []Entry{dirEntry("/srv/app"), fileEntry("/etc/app.conf")} {
			if e.Kind == Directory && method == Copy {
				continue
			}
			for _, inTemplate := range []bool{false, true} {
				name := method.String() + e.Target
				if inTemplate {
					name += " that the template has too"
				}
				t.Run(name, func(t *testing.T) {
					m := newMachine(t)
					m.write("/srv/app/sub/file", "data")
					m.chown("/srv/app", 50, 51, 0o750)
					m.write("/etc/app.conf", "setting")
					want := describe(t, m.path(e.Target))
					opts := m.nextBoot()
					if inTemplate {
						m.write("/srv/app/example", "from the template")
						m.write("/etc/app.conf", "from the template")
					}
					e := adopted(e, method)
					for range 2 {
						report, err := Apply(context.Background(), opts, []Entry{e})
						if err != nil && !errors.Is(err, ErrConflict) || report.Results[0].State == Failed {
							t.Fatalf("%+v, %v", report.Results, err)
						}
						if got := describe(t, m.path(e.Source)); got != want {
							t.Errorf("kept\n%s\nwant\n%s", got, want)
						}
						m.wantSeen(e)
					}
				})
			}
		}
	}
}

// wantSeen fails unless the place shows what is kept: an absolute symlink as the booted system sees it.
func (m *machine) wantSeen(e Entry) {
	m.t.Helper()
	switch link, err := os.Readlink(m.path(e.Target)); {
	case err == nil && link != e.Source:
		m.t.Errorf("%s leads to %s", e.Target, link)
	case err == nil:
	case e.Kind == File:
		m.wantText(e.Target, m.read(e.Source))
	default:
		m.wantText(e.Target+"/sub/file", "data")
	}
}

func TestWhatIsNotAdoptedIsNotTakenFromTheFormerRoot(t *testing.T) {
	m := newMachine(t)
	m.write("/srv/app/old", "old")
	m.write("/persist/etc/app.conf", "kept")
	m.write("/etc/app.conf", "of the former root")
	m.symlink("/etc", "/srv/link")
	opts := m.nextBoot()
	report, err := Apply(context.Background(), opts, []Entry{
		dirEntry("/srv/app"),                      // configured
		adopted(fileEntry("/etc/app.conf"), Auto), // kept already
		adopted(dirEntry("/srv/link"), Auto),      // not of that kind there
		adopted(dirEntry("/srv/none"), Auto),      // nothing there
	})
	if err != nil {
		t.Fatalf("%+v, %v", report.Results, err)
	}
	m.wantOwner("/srv/app/old", "absent")
	m.wantText("/etc/app.conf", "kept")
	m.wantOwner("/persist/srv/link", "0:0 0755")
	m.wantOwner("/persist/srv/none", "0:0 0755")
}

// TestFormerRootIsNotLeftThroughAUsersSymlink: what a user put into his home leads nowhere.
func TestFormerRootIsNotLeftThroughAUsersSymlink(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/home/demo")
	m.chown("/home/demo", 1000, 100, 0o700)
	m.symlink("/etc", "/home/demo/.config")
	m.chown("/home/demo/.config", 1000, 100, 0)
	m.write("/etc/app/secret", "secret")
	opts := m.nextBoot()
	e := homeEntry(Directory, ".config/app")
	_, err := Apply(context.Background(), opts, []Entry{adopted(e, Auto)})
	if !errors.Is(err, ErrUnsafePath) {
		t.Errorf("got %v", err)
	}
	m.wantOwner(e.Source, "absent")
}

// TestWhatTheTemplateHasIsNoConflict: what a fresh root was made with lies in the template too. Covering it hides nothing, or a
// file that was changed and kept would be a conflict at every boot. What was changed since is one, even when its size and time are
// those of the template's.
func TestWhatTheTemplateHasIsNoConflict(t *testing.T) {
	for _, method := range []Method{Auto, Bind, Symlink, Copy} {
		t.Run(method.String(), func(t *testing.T) {
			m := newMachine(t)
			m.write("/etc/app.conf", "from the template")
			m.write("/srv/app/example", "from the template")
			m.write("/persist/etc/app.conf", "changed and kept")
			m.write("/persist/srv/app/data", "kept")
			top := filepath.Join(filepath.Dir(m.root), "top")
			btrfstest.Mount(t, m.device, top, "subvolid=5")
			template := filepath.Join(top, "template")
			btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", m.root, template)
			file, dir := fileEntry("/etc/app.conf"), dirEntry("/srv/app")
			file.Method, dir.Method = method, method
			entries := []Entry{file, dir}
			if method == Copy {
				entries = entries[:1]
			}
			opts := m.options()
			opts.Template = func() map[string]string { return map[string]string{"/": template} }
			for _, change := range []string{"", "changed in this root", "from this root !!"} {
				changed := change != ""
				if changed {
					if err := Unmount(context.Background(), opts, entries); err != nil {
						t.Fatal(err)
					}
					if method == Symlink || method == Copy {
						continue // the place is the link or the copy
					}
					for _, p := range []string{"/etc/app.conf", "/srv/app/example"} {
						was, err := os.Stat(filepath.Join(template, p))
						if err != nil {
							t.Fatal(err)
						}
						m.write(p, change)
						if err := os.Chtimes(m.path(p), was.ModTime(), was.ModTime()); err != nil {
							t.Fatal(err)
						}
					}
				}
				report, err := Apply(context.Background(), opts, entries)
				for _, r := range report.Results {
					if changed != errors.Is(r.Err, ErrConflict) || !changed && r.State != InPlace {
						t.Errorf("changed %t: %+v, %v", changed, r, err)
					}
				}
			}
			m.wantText("/persist/etc/app.conf", "changed and kept")
		})
	}
}
