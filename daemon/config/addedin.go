package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/impermanence/impermanence/persist"
)

// addedInHint says what to do about a name of a root that is none.
const addedInHint = `write it as it was, { subvolume = 257, uuid = "…" }, or leave it out: the entry is then taken from the root before the one that boots next`

// addedIn reads the root that a recorded entry was added in, and is to be taken from.
func (d *decoder) addedIn(s scope, to *persist.RootName) {
	f := s.table.get("addedIn")
	if f == nil {
		return
	}
	in, ok := d.table(s.path(f.key), f.value, "subvolume", "uuid")
	if !ok {
		return
	}
	var name persist.RootName
	if v, ok := in.find("subvolume", integerKind, addedInHint); ok {
		id, err := strconv.ParseUint(v.text, 0, 64)
		if err != nil {
			d.fail(v.at, in.path("subvolume"), addedInHint, "%s is not the id of a subvolume", v.text)
			return
		}
		name.Subvolume = id
	}
	parsed(in, "uuid", addedInHint, &name.UUID, parseUUID)
	if len(d.problems) == 0 && (name.Subvolume == 0 || name.UUID == "") {
		d.fail(f.at, s.path(f.key), addedInHint, "names no root")
		return
	}
	*to = name
}

func parseUUID(s string) (string, error) {
	digits := strings.ReplaceAll(s, "-", "")
	const size, digitsOf = 36, 32
	if len(s) != size || len(digits) != digitsOf || strings.Trim(digits, "0123456789abcdefABCDEF") != "" || strings.Trim(digits, "0") == "" {
		return "", fmt.Errorf("%q is not a UUID", s)
	}
	return strings.ToLower(s), nil
}

// formatAddedIn gives the root that an entry was added in, as far as it is known.
func formatAddedIn(name persist.RootName) []string {
	if name == (persist.RootName{}) {
		return nil
	}
	return []string{fmt.Sprintf("addedIn = { subvolume = %d, uuid = %s }", name.Subvolume, tomlString(name.UUID))}
}

// EphemeralOf gives the ephemeral mount point that a path of the booted system is on, by its name.
func (c *Config) EphemeralOf(p string) (on Ephemeral, found bool) {
	for _, e := range c.Ephemeral {
		if persist.Below(p, e.MountPoint) && (!found || persist.Below(e.MountPoint, on.MountPoint)) {
			on, found = e, true
		}
	}
	return on, found
}
