package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestSettled holds that the system is to put entries in place again wherever it might find another configuration or other mounts than the initrd.
func TestSettled(t *testing.T) {
	m := newRunningMachine(t)
	const (
		text  = "[persistence.\"/persist\"]\ndirectories = [\"/var/log\", \"/home/reader/mail\"]\n"
		units = "/etc/systemd/system/"
		table = "/etc/fstab"
	)
	for name, c := range map[string]struct {
		files map[string]string // of the root, beside the initrd's configuration
		want  bool
		also  string // in the configuration
	}{
		"nothing else":                       {nil, true, ""},
		"mounts that no entry is on":         {map[string]string{table: "UUID=1-2 /boot vfat defaults\nUUID=3 none swap sw\nUUID=4 /home/writer btrfs noauto\n"}, true, ""},
		"what is mounted already":            {map[string]string{table: m.device + " /home btrfs subvol=home\n" + m.device + " /persist btrfs subvol=persist\n"}, true, ""},
		"units of other places":              {map[string]string{units + "tmp.mount": "", units + "home-writer.mount": "", units + "var-log-journal.mount": ""}, true, ""},
		"a configuration that has changed":   {map[string]string{"/etc/impermanence/conf.d/more.toml": "[persistence.\"/persist\"]\nfiles = [\"/etc/x\"]\n"}, false, ""},
		"one that is wrong":                  {map[string]string{"/etc/impermanence/conf.d/more.toml": "nonsense"}, false, ""},
		"a volume that is not there":         {nil, false, "[persistence.\"/late\"]\n"},
		"a mount on the way to a place":      {map[string]string{table: "UUID=1-2 /home/reader ext4 defaults\n"}, false, ""},
		"one of the network":                 {map[string]string{table: "server:/log /var/log nfs _netdev\n"}, true, ""}, // the entry itself is mounted there
		"one of the network on the way":      {map[string]string{table: "server:/var /var nfs _netdev\n"}, false, ""},
		"one that is made when it is needed": {map[string]string{table: "UUID=1-2 /home/reader ext4 noauto,x-systemd.automount\n"}, false, ""},
		"a unit on the way":                  {map[string]string{units + "var.mount": ""}, false, ""},
		"a unit of the place":                {map[string]string{"/usr/lib/systemd/system/home-reader-mail.mount": ""}, false, ""},
		"a unit of the volume":               {map[string]string{units + "persist.mount": ""}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(m.sysroot(), "etc")
			if err := os.RemoveAll(root); err != nil {
				t.Fatal(err)
			}
			for _, root := range []string{"initrd", "sysroot"} {
				m.write(t, root+"/etc/impermanence/impermanence.toml", text+c.also)
			}
			configured, err := config.Load(config.LoadOptions{Root: filepath.Join(m.dir, "initrd")})
			if err != nil {
				t.Fatal(err)
			}
			for file, content := range c.files {
				m.write(t, "sysroot"+file, content)
				t.Cleanup(func() { _ = os.Remove(m.sysroot() + file) })
			}
			report, err := persist.Apply(t.Context(), configured.In(m.sysroot()), configured.Entries())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Results {
				t.Cleanup(func() { btrfstest.Unmount(t, m.sysroot()+r.Target) })
			}
			if got := isSettled(options{sysroot: m.sysroot()}, configured, report); got != c.want {
				t.Errorf("settled: %t, want %t", got, c.want)
			}
		})
	}
}
