package main

import (
	"fmt"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// restoreDocument is what `restore` prints.
type restoreDocument struct {
	Job     jobDocument        `json:"job"`
	Results []restoredDocument `json:"results"`
	Kept    []keptDocument     `json:"kept"` // with --persist
}

// restoredDocument is what became of one path.
type restoredDocument struct {
	Path    dbus.Bytes     `json:"path"`
	Target  dbus.Bytes     `json:"target"`
	Action  string         `json:"action"` // "restored", "replaced", "same" or "failed"
	Aside   dbus.Bytes     `json:"aside"`  // where what stood there is now; "" when nothing did
	Entries uint64         `json:"entries"`
	Bytes   uint64         `json:"bytes"`
	Error   *errorDocument `json:"error"`
}

// keptDocument is a path that is to be kept from now on.
type keptDocument struct {
	Target dbus.Bytes `json:"target"`
	Kept   bool       `json:"kept"`
}

// logDocument is what `log` prints.
type logDocument struct {
	Path     dbus.Bytes        `json:"path"`
	Versions []versionDocument `json:"versions"` // oldest root first, the running root last
}

// versionDocument is what a path is in one root.
type versionDocument struct {
	Root       uint64         `json:"root"` // subvolume id; 0 for the running root
	Name       string         `json:"name"`
	RolledOver *time.Time     `json:"rolledOver"`
	Version    uint64         `json:"version"` // 0 when it is not there
	Kind       string         `json:"kind"`
	Size       uint64         `json:"size"`
	Mode       string         `json:"mode"` // octal
	UID        uint32         `json:"uid"`
	GID        uint32         `json:"gid"`
	Modified   *time.Time     `json:"modified"`
	Link       dbus.Bytes     `json:"link"`
	Error      *errorDocument `json:"error"`
}

func newRestoreDocument(all []dbus.RestoreResult, job dbus.Job, kept []changed) restoreDocument {
	d := restoreDocument{Job: newJobDocument(job), Results: make([]restoredDocument, len(all)), Kept: make([]keptDocument, len(kept))}
	for i, r := range all {
		d.Results[i] = restoredDocument{
			Path: r.Path, Target: r.Target, Action: r.Action, Aside: r.Aside,
			Entries: r.Entries, Bytes: r.Bytes, Error: errorOf(r.Error),
		}
	}
	for i, c := range kept {
		d.Kept[i] = keptDocument{dbus.Bytes(c.target), c.failure() == nil}
	}
	return d
}

func newLogDocument(path string, all []dbus.Version) logDocument {
	d := logDocument{Path: dbus.Bytes(path), Versions: make([]versionDocument, len(all))}
	for i, v := range all {
		d.Versions[i] = versionDocument{
			Root: v.Root, Name: v.Name, RolledOver: known(microseconds(v.RolledOverUSec)), Version: v.Version, Kind: v.Kind,
			Size: v.Size, Mode: fmt.Sprintf("%04o", v.Mode), UID: v.UID, GID: v.GID, Modified: known(microseconds(v.ModifiedUSec)),
			Link: v.Link, Error: errorOf(v.Error),
		}
	}
	return d
}

func errorOf(e *dbus.ErrorInfo) *errorDocument {
	if e == nil {
		return nil
	}
	return newErrorDocument(*e)
}
