package daemon

import (
	"slices"
	"testing"

	"github.com/moby/sys/mountinfo"
)

// What the daemon's own sandbox mounts keeps nothing: binds of the root over itself, and what hides directories from it.
func TestCoveredKnowsTheSandbox(t *testing.T) {
	mounts := []*mountinfo.Info{
		{Mountpoint: "/", Root: "/root", Major: 0, Minor: 30, FSType: "btrfs"},
		{Mountpoint: "/home", Root: "/root/home", Major: 0, Minor: 30},                           // ProtectHome=read-only
		{Mountpoint: "/usr/lib/modules", Root: "/systemd/inaccessible/dir", Major: 0, Minor: 25}, // ProtectKernelModules=
		{Mountpoint: "/var/lib/machines", Root: "/root/var/lib/machines", Major: 0, Minor: 30},   // a nested subvolume
		{Mountpoint: "/var/log", Root: "/persist/var/log", Major: 0, Minor: 30},                  // an entry
		{Mountpoint: "/srv", Root: "/rootbeer", Major: 0, Minor: 30},                             // another subvolume
		{Mountpoint: "/proc", Root: "/", Major: 0, Minor: 5},
		{Mountpoint: "/boot", Root: "/", Major: 8, Minor: 1},
	}
	d := &Daemon{opts: Options{Sysroot: "/"}}
	covered := d.covered(place{mountPoint: "/"}, mounts)
	if want := []string{"/var/log", "/srv", "/proc", "/boot"}; !slices.Equal(covered, want) {
		t.Errorf("covered %q, want %q", covered, want)
	}
	if below := d.covered(place{mountPoint: "/var"}, mounts); !slices.Equal(below, []string{"/var/lib/machines", "/var/log"}) {
		t.Errorf("covered below /var: %q", below)
	}
}
