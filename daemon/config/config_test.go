package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mode(bits uint32) persist.Mode { return persist.Mode{Bits: bits, Given: true} }

func TestExampleOfTheDesign(t *testing.T) {
	c, err := config.ParseBytes("seeds.toml", read(t, "testdata/seeds.toml"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(line int) config.Origin { return config.Origin{File: "seeds.toml", Line: line} }
	dir := func(target string, line int) persist.Entry {
		return persist.Entry{Target: target, Source: "/persist" + target, Volume: "/persist", Hide: true, Origin: at(line)}
	}
	file := func(target string, line int) persist.Entry {
		e := dir(target, line)
		e.Kind = persist.File
		return e
	}
	nixos := dir("/etc/nixos", 18)
	nixos.User, nixos.Mode = "demo", mode(0o755)
	secret := file("/var/keys/secret_file", 23)
	secret.Parent.Mode = mode(0o700)
	inHome := dir("/home/demo/this-will-persist", 26)
	inHome.Home, inHome.BelowHome = "demo", "this-will-persist"
	screenrc := file("/home/demo/.screenrc", 27)
	screenrc.Home, screenrc.BelowHome = "demo", ".screenrc"
	want := &config.Config{
		Ephemeral: []config.Ephemeral{{MountPoint: "/", Device: "/dev/mapper/encrypted", Subvolume: "root", OldRoots: "old_roots", Origin: at(1)}},
		Retention: config.Retention{KeepWithin: 30 * 24 * time.Hour, KeepLast: 3, MinFree: config.MinFree{Percent: 10}},
		Volumes: []persist.Volume{{Path: "/persist", HideMounts: true, Entries: []persist.Entry{
			nixos, dir("/var/log", 19), dir("/var/lib/bluetooth", 19), dir("/var/lib/nixos", 19), dir("/var/lib/systemd/coredump", 19),
			dir("/etc/NetworkManager/system-connections", 19), file("/etc/machine-id", 22), secret, inHome, screenrc,
		}}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReferenceIsRight(t *testing.T) {
	c, err := config.Load(config.LoadOptions{Root: withPresets(t), Path: "reference.toml"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Ephemeral) != 2 || len(c.Volumes) != 1 || len(c.Volumes[0].Entries) != 17 {
		t.Errorf("got %+v", c)
	}
}

func TestJSONWithTheSameDataIsReadAlike(t *testing.T) {
	toml, err := config.ParseBytes("x.toml", []byte(`
[ephemeral."/"]
subvolume = "root"
[persistence."/persist"]
directories = ["/var/log", { directory = "/srv", mode = "0750" }]
users.demo.files = [".screenrc"]
`))
	if err != nil {
		t.Fatal(err)
	}
	json, err := config.ParseBytes("x.json", []byte(`{
  "ephemeral": {"/": {"subvolume": "root", "device": null}},
  "persistence": {"/persist": {"directories": ["/var/log", {"directory": "/srv", "mode": "0750"}],
    "users": {"demo": {"files": [".screenrc"]}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	withoutOrigin := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().Type() == nil || p.Last().Type().Name() == "Origin" }, cmp.Ignore())
	if diff := cmp.Diff(toml, json, withoutOrigin); diff != "" {
		t.Errorf("(-toml +json)\n%s", diff)
	}
}

// TestProblems holds, for each mistake, where it is found and what is said.
func TestProblems(t *testing.T) {
	for file := range strings.SplitSeq(strings.TrimSpace(string(read(t, "testdata/problems.txt"))), "\n=====\n") {
		text, want, ok := strings.Cut(file, "\n-----\n")
		if !ok {
			t.Fatalf("no ----- in %q", file)
		}
		name := "c.toml"
		if strings.HasPrefix(text, "{") {
			name = "c.json"
		}
		_, err := config.ParseBytes(name, []byte(text))
		var problems config.Errors
		if !errors.As(err, &problems) {
			t.Errorf("%s\ngot error %v, want %s", text, err, want)
			continue
		}
		if got := problems.Error(); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
		for _, p := range problems {
			if p.Line == 0 {
				t.Errorf("%s\nno place in %+v", text, p)
			}
		}
	}
}

func TestLoadMergesInOrder(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/lib/impermanence/conf.d/10-base.toml", "[persistence.\"/persist\"]\nhideMounts = false\ndirectories = [\"/var/log\"]\n")
	write("usr/lib/impermanence/conf.d/20-replaced.toml", "nonsense")
	write("etc/impermanence/impermanence.toml", "[persistence.\"/persist\"]\nhideMounts = true\ndirectories = [\"/var/lib/nixos\"]\n[retention]\nkeepLast = 3\n")
	write("etc/impermanence/conf.d/20-replaced.toml", "[retention]\nkeepDaily = 2\n")
	write("etc/impermanence/conf.d/30.json", `{"retention": {"keepLast": 5}}`)
	write("etc/impermanence/conf.d/notes.txt", "not read")
	c, err := config.Load(config.LoadOptions{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Retention{KeepLast: 5, KeepDaily: 2}, c.Retention); diff != "" {
		t.Error(diff)
	}
	if len(c.Volumes) != 1 || !c.Volumes[0].HideMounts {
		t.Fatalf("got %+v", c.Volumes)
	}
	var targets []string
	for _, e := range c.Entries() {
		targets = append(targets, e.Target)
	}
	if diff := cmp.Diff([]string{"/var/log", "/var/lib/nixos"}, targets); diff != "" {
		t.Error(diff)
	}
}

func TestProblemsNameTheirFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"1.toml": "[persistence.\"/persist\"]\ndirectories = [\"/var/log\"]\n",
		"2.toml": "\n[persistence.\"/persist\"]\ndirectories = [\n \"/var/log\"]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := config.Load(config.LoadOptions{Path: dir})
	want := dir + `/2.toml:4: persistence."/persist".directories: /var/log is configured twice, first in ` + dir + "/1.toml:2; keep one of them"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadWithoutAnyFileIsEmpty(t *testing.T) {
	c, err := config.Load(config.LoadOptions{Root: t.TempDir()})
	if err != nil || len(c.Ephemeral)+len(c.Volumes) != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := config.Load(config.LoadOptions{Path: "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "6w": 42 * day, "36h": 36 * time.Hour, "1y2m": 425 * day, "0h": 0,
		"": -1, "30": -1, "d": -1, "3x": -1, "-3d": -1, "3 d": -1, "999999999999y": -1, "200y200y": -1, "99999999999999999999h": -1,
	} {
		got, err := config.ParseDuration(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}
