package config

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"

	"github.com/impermanence/impermanence/persist"
)

// read turns a merged tree into a configuration.
func (d *decoder) read(root *value) *Config {
	c := &Config{}
	s, ok := d.table("", root, "ephemeral", "retention", "persistence")
	if !ok {
		return c
	}
	if f := root.get("ephemeral"); f != nil {
		c.Ephemeral = d.ephemerals(s.path(f.key), f.value)
	}
	if f := root.get("retention"); f != nil {
		c.Retention = d.retention(s.path(f.key), f.value)
	}
	if f := root.get("persistence"); f != nil {
		c.Volumes = d.volumes(s.path(f.key), f.value)
	}
	if len(d.problems) == 0 {
		d.checkEphemerals(c)
	}
	d.mergeWeak(c.Volumes)
	d.checkEntries(c.Volumes)
	return c
}

func (d *decoder) ephemerals(key string, v *value) []Ephemeral {
	s, ok := d.table(key, v)
	if !ok {
		return nil
	}
	var all []Ephemeral
	for _, f := range v.fields {
		mountPoint, err := absolute(f.key)
		if err != nil {
			d.fail(f.at, s.path(f.key), `write the mount point, such as [ephemeral."/"]`, "%v", err)
			continue
		}
		if e, ok := d.ephemeral(s.path(f.key), f.value); ok {
			e.MountPoint, e.Origin = mountPoint, Origin{File: f.at.file, Line: f.at.line}
			all = append(all, e)
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].MountPoint < all[b].MountPoint })
	return all
}

func (d *decoder) ephemeral(key string, v *value) (Ephemeral, bool) {
	e := Ephemeral{Subvolume: "root", OldRoots: "old_roots"}
	s, ok := d.table(key, v, "device", "subvolume", "oldRoots", "template", "onFailure")
	if !ok {
		return e, false
	}
	parsed(s, "device", "write a path, such as /dev/mapper/root, or UUID=…, LABEL=…, PARTUUID=…, PARTLABEL=…", &e.Device, parseDevice)
	const hint = "write a path relative to the top level of the file system"
	parsed(s, "subvolume", hint, &e.Subvolume, relative)
	parsed(s, "oldRoots", hint, &e.OldRoots, relative)
	if f := v.get("template"); f == nil || f.value.kind != stringKind || f.value.text != "" {
		parsed(s, "template", hint, &e.Template, relative)
	}
	choice(s, "onFailure", &e.OnFailure, []string{"continue", "emergency"}, []OnFailure{Continue, Emergency})
	if persist.Within(e.OldRoots, e.Subvolume) || persist.Within(e.Template, e.Subvolume) {
		d.fail(v.at, s.key, "give subvolume, oldRoots and template paths of their own", "what is kept is inside the root %q, which is replaced at every boot", e.Subvolume)
	}
	return e, true
}

// checkEphemerals finds mount points that share a root or a directory of old roots: the roots of one would be taken for
// those of the other, be counted as them, and be booted as them.
func (d *decoder) checkEphemerals(c *Config) {
	root := "" // the device of "/", which is what root= names, and so where one is left out
	if len(c.Ephemeral) > 0 && c.Ephemeral[0].MountPoint == "/" {
		root = c.Ephemeral[0].Device
	}
	for i, e := range c.Ephemeral {
		for _, first := range c.Ephemeral[:i] {
			if cmp.Or(first.Device, root) != cmp.Or(e.Device, root) {
				continue
			}
			at := position{file: e.Origin.File, line: e.Origin.Line}
			if first.Subvolume == e.Subvolume {
				d.fail(at, fmt.Sprintf("ephemeral.%q.subvolume", e.MountPoint),
					"give each mount point a subvolume of its own", "%q is the root of %s too (%s)", e.Subvolume, first.MountPoint, first.Origin)
				break
			}
			if persist.Within(first.OldRoots, e.OldRoots) || persist.Below(e.OldRoots, first.OldRoots) {
				d.fail(at, fmt.Sprintf("ephemeral.%q.oldRoots", e.MountPoint),
					"give each mount point a directory of its own", "%q is where those of %s are (%s)", e.OldRoots, first.MountPoint, first.Origin)
				break
			}
		}
	}
}

func parseDevice(s string) (string, error) {
	for _, tag := range []string{"UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="} {
		if rest, ok := strings.CutPrefix(s, tag); ok && rest != "" {
			return s, nil
		}
	}
	if s != "" && (!path.IsAbs(s) || strings.Contains(s, "\x00")) {
		return "", fmt.Errorf("%q is neither a path nor a tag", s)
	}
	return s, nil
}

// retention reads the policy. All of it is optional; nothing set keeps everything.
func (d *decoder) retention(key string, v *value) Retention {
	var r Retention
	s, ok := d.table(key, v, "keepWithin", "keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly", "keepLabels", "minFree")
	if !ok {
		return r
	}
	parsed(s, "keepWithin", durationHint, &r.KeepWithin, ParseDuration)
	parsed(s, "minFree", minFreeHint, &r.MinFree, ParseMinFree)
	s.count("keepLast", &r.KeepLast)
	s.count("keepHourly", &r.KeepHourly)
	s.count("keepDaily", &r.KeepDaily)
	s.count("keepWeekly", &r.KeepWeekly)
	s.count("keepMonthly", &r.KeepMonthly)
	s.count("keepYearly", &r.KeepYearly)
	for _, label := range s.texts("keepLabels") {
		if label.text == "" {
			d.fail(label.at, s.path("keepLabels"), "write a label, such as \"works\"", "holds an empty label, which no root has")
			continue
		}
		r.KeepLabels = append(r.KeepLabels, label.text)
	}
	return r
}

// absolute checks and cleans an absolute path.
func absolute(s string) (string, error) {
	if err := sound(s); err != nil {
		return "", err
	}
	if !path.IsAbs(s) {
		return "", fmt.Errorf("%q is a relative path", s)
	}
	return path.Clean(s), nil
}

// relative checks and cleans a path that must be relative.
func relative(s string) (string, error) {
	if err := sound(s); err != nil {
		return "", err
	}
	if path.IsAbs(s) {
		return "", fmt.Errorf("%q is an absolute path", s)
	}
	if path.Clean(s) == "." {
		return "", fmt.Errorf("%q names nothing below", s)
	}
	return path.Clean(s), nil
}

// sound refuses what is no path, and paths that lead back up.
func sound(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case strings.Contains(s, "\x00"):
		return fmt.Errorf("%q holds a zero byte", s)
	case len(s) > 4000:
		return errors.New("is longer than a path can be")
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." {
			return fmt.Errorf("%q leads back up", s)
		}
		if len(part) > 255 {
			return fmt.Errorf("%.32q… is longer than a name can be", part)
		}
	}
	return nil
}
