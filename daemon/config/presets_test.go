package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

const shipped = "../../systemd-units/presets"

// withPresets gives a root in which the presets that are shipped are installed.
func withPresets(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "usr/lib/impermanence/presets"), os.DirFS(shipped)); err != nil {
		t.Fatal(err)
	}
	return root
}

// load reads a configuration from a file below root.
func load(t *testing.T, root, text string) (*config.Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "impermanence.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return config.Load(config.LoadOptions{Root: root, Path: file})
}

func targets(entries []persist.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Target)
	}
	return all
}

// TestShippedPresets reads each preset alone and all together; each says why it is there.
func TestShippedPresets(t *testing.T) {
	root := withPresets(t)
	files, err := filepath.Glob(shipped + "/*.toml")
	if err != nil || len(files) < 10 {
		t.Fatalf("got %v, %v", files, err)
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		names = append(names, `"`+name+`"`)
		if !strings.HasPrefix(string(read(t, file)), "# ") {
			t.Errorf("%s does not say why", file)
		}
		c, err := load(t, root, "[persistence.\"/persist\"]\npresets = [\""+name+"\"]\n")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(c.Entries()) == 0 {
			t.Errorf("%s keeps nothing", name)
		}
	}
	if _, err := load(t, root, "[persistence.\"/persist\"]\npresets = ["+strings.Join(names, ", ")+"]\n"); err != nil {
		t.Error(err)
	}
}

// TestPresetsKeepWhatEverybodyListed: what users of nix-community/impermanence wrote down again and again, and asked to have there
// (#10, #108).
func TestPresetsKeepWhatEverybodyListed(t *testing.T) {
	root := withPresets(t)
	for preset, places := range map[string][]string{
		"machine-id":     {"/etc/machine-id"},
		"ssh-host-keys":  {"/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub", "/etc/ssh/ssh_host_rsa_key"},
		"networkmanager": {"/etc/NetworkManager/system-connections"},
		"bluetooth":      {"/var/lib/bluetooth"},
		"timers":         {"/var/lib/systemd/timers"},
		"random-seed":    {"/var/lib/systemd/random-seed"},
		"clock":          {"/etc/adjtime"},
		"logs":           {"/var/log"},
		"sudo-lecture":   {"/var/db/sudo/lectured"},
		"nixos":          {"/var/lib/nixos"},
		"coredump":       {"/var/lib/systemd/coredump"},
		"linger":         {"/var/lib/systemd/linger"},
		"cron":           {"/var/spool/cron"},
		"alsa":           {"/var/lib/alsa"},
		"flatpak":        {"/var/lib/flatpak"},
		"colord":         {"/var/lib/colord"},
		"netplan":        {"/etc/netplan"},
		"podman":         {"/var/lib/containers", "/etc/containers/networks"},
	} {
		c, err := load(t, root, "[persistence.\"/persist\"]\npresets = [\""+preset+"\"]\n")
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range places {
			if !slices.Contains(targets(c.Entries()), place) {
				t.Errorf("%s does not keep %s, but %v", preset, place, targets(c.Entries()))
			}
		}
	}
}

func TestPresetsGiveWayToWhatIsConfigured(t *testing.T) {
	c, err := load(t, withPresets(t), `
[persistence."/persist"]
presets = ["journal", "networkmanager", "machine-id"]
directories = ["/var/log", { directory = "/var/lib/NetworkManager", mode = "0755" }]
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/var/log", "/var/lib/NetworkManager", "/etc/NetworkManager/system-connections", "/etc/machine-id"}
	if diff := cmp.Diff(want, targets(c.Entries())); diff != "" {
		t.Error(diff)
	}
	if got := c.Entries()[1].Mode.Bits; got != 0o755 {
		t.Errorf("the preset's mode %o won", got)
	}
}

func TestPresetProblems(t *testing.T) {
	root := withPresets(t)
	local := filepath.Join(root, "etc/impermanence/presets")
	if err := os.MkdirAll(local, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(local, "broken.toml"), []byte("# why\ndirectory = []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"machineid": `did you mean "machine-id"?`, "nothing-like-it": "there are accounts, alsa, bluetooth, bolt, broken,", "../x": "is not the name of a preset",
		"broken": `etc/impermanence/presets/broken.toml:2: directory: there is no such key; did you mean "directories"?`,
	} {
		_, err := load(t, root, "[persistence.\"/persist\"]\npresets = [\""+name+"\"]\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestRecordedEntries(t *testing.T) {
	root := t.TempDir()
	c, err := load(t, root, "[persistence.\"/persist\"]\nhideMounts = true\ndirectories = [\"/var/log\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := config.AddRecorded(root, c); err != nil || len(c.Entries()) != 1 {
		t.Fatalf("got %v, %+v", err, c)
	}
	entries := difficultEntries()
	if err := config.WriteRecorded(root, c.Volumes[0], entries); err != nil {
		t.Fatal(err)
	}
	if err := config.AddRecorded(root, c); err != nil {
		t.Fatal(err)
	}
	got := config.Recorded(root, c)
	for i := range got {
		if !got[i].Adopt {
			t.Errorf("%s is not to be adopted", got[i].Target)
		}
		got[i].Origin, got[i].Adopt = config.Origin{}, false
	}
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Errorf("(-written +read)\n%s", diff)
	}
	// What is configured later wins over what is recorded.
	c, err = load(t, root, "[persistence.\"/persist\"]\ndirectories = [\"/srv\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := config.AddRecorded(root, c); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/srv", "/etc/a \"b\"\n\\", "/home/demo/.cache", "/opt/x/y"}; !cmp.Equal(want, targets(c.Entries())) {
		t.Errorf("got %q, want %q", targets(c.Entries()), want)
	}
	// A broken record leaves the configuration as it is.
	if err := os.WriteFile(filepath.Join(root, config.RecordPath("/persist")), []byte("directories = 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	var problems config.Errors
	if err := config.AddRecorded(root, c); !errors.As(err, &problems) || len(c.Entries()) != 4 {
		t.Errorf("got %v, %+v", err, c)
	}
}

// difficultEntries are sorted by target, as Recorded gives them.
func difficultEntries() []persist.Entry {
	return []persist.Entry{
		{Kind: persist.File, Target: "/etc/a \"b\"\n\\", Source: "/persist/etc/a \"b\"\n\\", Volume: "/persist", Hide: true, Method: persist.Copy},
		{Target: "/home/demo/.cache", Source: "/persist/home/demo/.cache", Volume: "/persist", Home: "demo", BelowHome: ".cache", Hide: true},
		{
			Target: "/opt/x/y", Source: "/scratch/opt/x/y", Volume: "/scratch", User: "demo", Group: "10", Mode: mode(0o2750),
			Parent: persist.Ownership{User: "a", Mode: mode(0o700)}, Method: persist.Bind, Trash: true, MountOptions: []string{"ro", "x-note=1"},
		},
		{Target: "/srv/a", Source: "/persist/srv/a", Volume: "/persist", Hide: true, AddedIn: aRoot},
	}
}

func TestWhatIsNotUTF8CannotBeRecorded(t *testing.T) {
	if _, err := config.FormatEntries(persist.Volume{Path: "/persist"}, []persist.Entry{{Target: "/\xff"}}); err == nil {
		t.Error("it was written all the same")
	}
}
