package persist

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
)

// Users are the users and groups of the root being booted.
type Users struct {
	Known  bool // there is a passwd file; without one names can't be told right from wrong
	users  map[string]user
	ids    map[uint32]user // by number; of several with one, the first counts, as in libc
	groups map[string]uint32
	homes  map[string]string // home -> name, of people and of root
}

type user struct {
	uid, gid uint32
	home     string
}

// Home is where root, or a person, is at home.
type Home struct {
	UID uint32
	Dir string // absolute and clean, not "/"
}

// Homes reads them from the content of a passwd file, in its order. Users of the system have none, whatever stands there.
func Homes(passwd []byte) []Home {
	var homes []Home
	eachUser(passwd, func(_ string, u user) {
		if u.atHome() {
			homes = append(homes, Home{u.uid, u.home})
		}
	})
	return homes
}

// atHome tells whether the user has a home that is their own.
func (u user) atHome() bool { return isPerson(u.uid) && path.IsAbs(u.home) && u.home != "/" }

// isPerson tells whether a user id is of somebody whose home is their own: root, and people, who have ids from 1000 on (login.defs' UID_MIN). Those
// that systemd does not give to people (uids-gids, "Special systemd UID ranges") are of services: Debian's libvirt-qemu is 64055, at home in
// /var/lib/libvirt, and nobody is 65534.
func isPerson(uid uint32) bool {
	const firstPerson, firstService, lastService = 1000, 60514, 65535
	return uid == 0 || uid >= firstPerson && (uid < firstService || uid > lastService)
}

// ParseUsers reads the contents of passwd and group files. Lines that are none are passed over, as libc does.
func ParseUsers(passwd, group []byte) Users {
	u := Users{Known: len(passwd) > 0, users: map[string]user{}, ids: map[uint32]user{}, groups: map[string]uint32{}, homes: map[string]string{}}
	eachUser(passwd, func(name string, found user) {
		if _, ok := u.users[name]; ok {
			return
		}
		u.users[name] = found
		if _, ok := u.ids[found.uid]; !ok {
			u.ids[found.uid] = found
		}
		if found.atHome() {
			u.homes[found.home] = name
		}
	})
	eachLine(group, 3, func(fields []string) {
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		if _, ok := u.groups[fields[0]]; !ok && err == nil {
			u.groups[fields[0]] = uint32(gid)
		}
	})
	return u
}

func eachUser(passwd []byte, f func(name string, u user)) {
	eachLine(passwd, 7, func(fields []string) {
		uid, err1 := strconv.ParseUint(fields[2], 10, 32)
		gid, err2 := strconv.ParseUint(fields[3], 10, 32)
		if err1 == nil && err2 == nil {
			f(fields[0], user{uint32(uid), uint32(gid), path.Clean(fields[5])})
		}
	})
}

func eachLine(data []byte, least int, f func([]string)) {
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		var fields []string
		for field := range bytes.SplitSeq(line, []byte(":")) {
			fields = append(fields, string(field))
		}
		if len(fields) >= least && fields[0] != "" && fields[0][0] != '#' {
			f(fields)
		}
	}
}

// user resolves a name or a number.
func (u Users) user(name string) (user, error) {
	if found, ok := u.users[name]; ok {
		return found, nil
	}
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		if found, ok := u.ids[uint32(id)]; ok {
			return found, nil
		}
		return user{uid: uint32(id), gid: uint32(id)}, nil
	}
	switch {
	case name == "root":
		return user{home: "/root"}, nil
	case !u.Known:
		return user{}, fmt.Errorf("user %q: %w", name, ErrNoUsers)
	}
	return user{}, fmt.Errorf("user %q: %w", name, ErrUnknownUser)
}

// group resolves a name or a number.
func (u Users) group(name string) (uint32, error) {
	if gid, ok := u.groups[name]; ok {
		return gid, nil
	}
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id), nil
	}
	switch {
	case name == "root":
		return 0, nil
	case len(u.groups) == 0:
		return 0, fmt.Errorf("group %q: %w", name, ErrNoUsers)
	}
	return 0, fmt.Errorf("group %q: %w", name, ErrUnknownGroup)
}

// home gives the home of a user: what the passwd file says, else the usual place.
func (u Users) home(name string) string {
	if found, err := u.user(name); err == nil && path.IsAbs(found.home) && found.home != "/" {
		return found.home
	}
	if name == "root" {
		return "/root"
	}
	return path.Join("/home", name)
}

// homeAround gives the user whose home a path is in or is, and that home; nothing for a path in no home.
func (u Users) homeAround(p string) (name, home string) {
	for ; len(p) > 1; p = path.Dir(p) {
		if name, ok := u.homes[p]; ok {
			return name, p
		}
	}
	return "", ""
}
