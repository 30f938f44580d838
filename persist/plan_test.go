package persist

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func dirObject(uid, gid, mode uint32) Object {
	return Object{Kind: IsDirectory, Owner: Owner{uid, gid, mode}, ID: InodeID{0, 40, 7}}
}

func fileObject(mode uint32) Object {
	return Object{Kind: IsFile, Owner: Owner{Mode: mode}, ID: InodeID{0, 40, 8}}
}

func with(o Object, change func(*Object)) Object {
	change(&o)
	return o
}

func empty(o *Object) { o.Empty = true }

func parents(paths ...string) []MissingParent {
	var missing []MissingParent
	for _, p := range paths {
		missing = append(missing, MissingParent{Path: p, Target: strings.TrimPrefix(p, "/persist")})
	}
	return missing
}

// TestPlan holds plans against a file that people can read: facts in, steps out, nothing touched.
func TestPlan(t *testing.T) {
	users := ParseUsers([]byte(passwd), []byte(group))
	owned := dirEntry("/srv/data")
	owned.User, owned.Mode = "demo", bits(0o2750)
	secret := fileEntry("/var/keys/secret")
	secret.Parent = Ownership{User: "log", Mode: bits(0o700)}
	home := homeEntry(Directory, ".local/share/app")
	unknown := dirEntry("/srv/x")
	unknown.Group = "nosuch"
	copied := copyEntry("/etc/passwd")
	mounted := with(dirObject(0, 0, 0o755), func(o *Object) { o.Mount = true })
	cases := []struct {
		name  string
		users Users
		entry Entry
		facts EntryFacts
	}{
		{"the first boot", users, dirEntry("/var/log"), EntryFacts{SourceParents: parents("/persist/var"), TargetParents: parents("/var")}},
		{"every later boot", users, dirEntry("/var/log"), EntryFacts{Source: dirObject(0, 51, 0o2775), TargetParents: parents("/var")}},
		{"in place", users, dirEntry("/var/log"), EntryFacts{Source: dirObject(0, 0, 0o755), Target: mounted}},
		{"options changed", users, dirEntry("/var/log"), EntryFacts{Source: dirObject(0, 0, 0o755), Target: mounted, OptionsDiffer: true}},
		{"owner as configured", users, owned, EntryFacts{}},
		{"owner changed since", users, owned, EntryFacts{Source: dirObject(0, 0, 0o755), Target: mounted}},
		{"parent as configured", users, secret, EntryFacts{SourceParents: parents("/persist/var", "/persist/var/keys"), TargetParents: parents("/var", "/var/keys")}},
		{"a home that is not there yet", users, home, EntryFacts{
			SourceParents: parents("/persist/home", "/persist/home/demo", "/persist/home/demo/.local", "/persist/home/demo/.local/share"),
			TargetParents: parents("/home", "/home/demo", "/home/demo/.local", "/home/demo/.local/share"),
		}},
		{"a parent like its counterpart", users, dirEntry("/srv/a/b"), EntryFacts{
			SourceParents: []MissingParent{{Path: "/persist/srv/a", Target: "/srv/a", Counterpart: dirObject(1000, 100, 0o711)}},
		}},
		{"services with dynamic users", users, dirEntry("/var/lib/private/x"), EntryFacts{SourceParents: parents("/persist/var/lib/private"), TargetParents: parents("/var/lib/private")}},
		{"no users yet, source there", Users{}, home, EntryFacts{Source: dirObject(1007, 1008, 0o700), TargetParents: parents("/home/demo")}},
		{"no users yet, no source", Users{}, home, EntryFacts{}},
		{"unknown group", users, unknown, EntryFacts{}},
		{"machine-id, at first", users, fileEntry(machineID), EntryFacts{SourceParents: parents("/persist/etc")}},
		{"machine-id, emptied", users, fileEntry(machineID), EntryFacts{Source: with(fileObject(0o444), empty)}},
		{"machine-id, made up by PID 1", users, fileEntry(machineID), EntryFacts{
			Source: with(fileObject(0o444), func(o *Object) { o.Size = int64(len(uninitialized)) }),
			Target: with(fileObject(0o444), func(o *Object) { o.Mount, o.ID.Inode = true, 7 }),
		}},
		{"machine-id, of somebody else", users, fileEntry(machineID), EntryFacts{
			Source: with(fileObject(0o444), func(o *Object) { o.Size = 33 }),
			Target: with(fileObject(0o444), func(o *Object) { o.Mount, o.ID.Inode = true, 7 }),
		}},
		{"file that may come later", users, fileEntry("/etc/adjtime"), EntryFacts{SourceParents: parents("/persist/etc")}},
		{"file with data", users, fileEntry("/etc/adjtime"), EntryFacts{Target: fileObject(0o644)}},
		{"empty file in the way", users, fileEntry("/etc/adjtime"), EntryFacts{Source: fileObject(0o644), Target: with(fileObject(0o600), empty)}},
		{"copied at boot", users, copied, EntryFacts{Source: fileObject(0o644)}},
		{"copied over the template's", users, copied, EntryFacts{Source: fileObject(0o644), Target: fileObject(0o644), Copy: CopyFacts{"a", "b", ""}, Difference: "/etc/passwd"}},
		{"changed by its program", users, copied, EntryFacts{Source: fileObject(0o644), Target: fileObject(0o644), Copy: CopyFacts{"a", "b", "a"}}},
		{"changed on the volume", users, copied, EntryFacts{Source: fileObject(0o644), Target: fileObject(0o644), Copy: CopyFacts{"a", "b", "b"}}},
		{"changed on both sides", users, copied, EntryFacts{Source: fileObject(0o644), Target: fileObject(0o644), Copy: CopyFacts{"a", "b", "c"}}},
		{"volume not there", users, dirEntry("/var/log"), EntryFacts{Err: fmt.Errorf("/persist: %w", ErrNoVolume)}},
	}
	var text strings.Builder
	for _, c := range cases {
		p := Plan(Facts{Users: c.users, Entries: []EntryFacts{c.facts}}, []Entry{c.entry})[0]
		fmt.Fprintf(&text, "%s: %s, %s, %s\n", c.name, c.entry.Target, p.Method, p.State)
		if p.Err != nil {
			fmt.Fprintf(&text, "  ! %v\n", p.Err)
		}
		for _, s := range p.Steps {
			fmt.Fprintf(&text, "  %s\n", s)
		}
	}
	golden(t, "plan.txt", text.String())
}

func TestUsers(t *testing.T) {
	const services = "libvirt-qemu:x:64055:104::/var/lib/libvirt:/bin/false\ndynamic:x:61184:61184::/var/lib/dynamic:/bin/false\n"
	const people = "homed:x:60513:60513::/srv/homed:/bin/sh\ndirectory:x:65536:100::/srv/directory:/bin/sh\nalias:x:1000:1::/srv/alias:/bin/sh\n"
	const broken = "broken line\n#comment:x:1:1::/:\nbad:x:many:1::/home/bad:\nshort:x:1001\nnone:x:1002:1::/:\nlast:x:1003:1::relative:\n"
	u := ParseUsers([]byte(passwd+broken+"root:x:99:99::/evil:\n"+services+people), []byte(group))
	for name, want := range map[string]string{"root": "0:0 /root", "demo": "1000:100 /home/demo", "1000": "1000:100 /home/demo", "4242": "4242:4242 "} {
		got, err := u.user(name)
		if err != nil || fmt.Sprintf("%d:%d %s", got.uid, got.gid, got.home) != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if _, err := u.user("nosuch"); !errors.Is(err, ErrUnknownUser) {
		t.Errorf("got %v", err)
	}
	for p, want := range map[string]string{
		"/var/lib/libvirt/images": "", "/var/lib/dynamic": "", "/srv/homed/x": "homed", "/srv/directory": "directory",
		"/home/demo/x/y": "demo", "/home/demo": "demo", "/home/demos": "", "/var/log/x": "", "/srv/other/x": "other", "/root/.ssh": "root",
	} {
		if got, _ := u.homeAround(p); got != want {
			t.Errorf("%s is in the home of %q, want %q", p, got, want)
		}
	}
	homes := fmt.Sprint(Homes([]byte(passwd + broken + services + people)))
	if want := "[{0 /root} {1000 /home/demo} {1001 /srv/other} {60513 /srv/homed} {65536 /srv/directory} {1000 /srv/alias}]"; homes != want {
		t.Errorf("homes: %s, want %s", homes, want)
	}
}

// TestMountAttributes: of options that are about the same the last one counts, as for mount(8); the kernel refuses two ways of keeping access times.
func TestMountAttributes(t *testing.T) {
	for options, want := range map[string]uint64{
		"ro,rw": 0, "rw,ro": unix.MOUNT_ATTR_RDONLY, "noatime,relatime": unix.MOUNT_ATTR_RELATIME, "relatime,noatime": unix.MOUNT_ATTR_NOATIME,
		"nosuid,nodev,suid": unix.MOUNT_ATTR_NODEV,
	} {
		if got, others := MountAttributes(strings.Split(options, ",")); got != want || len(others) > 0 {
			t.Errorf("%s: %#x, %q, want %#x", options, got, others, want)
		}
	}
}

func TestComparePaths(t *testing.T) {
	sorted := []string{"/", "/a", "/a/b", "/a/b/c", "/a b", "/a-b", "/a.b", "/ab", "/b"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := ComparePaths(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q, %q: got %d", a, b, got)
			}
		}
	}
}

func TestNamesNeverGetTooLong(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, name := range []string{stagedName(long), asideName(long, 1), asideName(long, 1000), asideName(long[:240], 2)} {
		if len(name) > 255 || !strings.HasPrefix(name, ".x") && !strings.HasPrefix(name, "x") {
			t.Errorf("%d: %s", len(name), name)
		}
	}
	if stagedName(long) == stagedName(long[:254]+"y") {
		t.Error("two names share one")
	}
}
