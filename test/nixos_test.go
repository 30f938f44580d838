package test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/losses"
)

// nix evaluates an expression, in the folder of the stubs, into v.
func nix(t *testing.T, expression string, v any) {
	t.Helper()
	if err := tryNix(t, expression, v); err != nil {
		t.Fatal(err)
	}
}

func tryNix(t *testing.T, expression string, v any) error {
	t.Helper()
	store := t.TempDir()
	cmd := exec.Command("nix-instantiate", "--eval", "--strict", "--json", "--expr", expression)
	cmd.Dir = "nixos"
	cmd.Env = append(os.Environ(), "NIX_STATE_DIR="+store, "NIX_STORE_DIR="+store, "NIX_REMOTE=dummy://", "HOME="+store)
	out, err := cmd.Output()
	if err != nil {
		return &nixError{stderrOf(err)}
	}
	return json.Unmarshal(out, v)
}

// nixError is what nix says.
type nixError struct{ text string }

func (e *nixError) Error() string { return e.text }

// nixMachine is what machine.nix gives.
type nixMachine struct {
	Failed  []string
	Etc     map[string]string
	AtLogin string
	Systemd struct {
		Services map[string]struct {
			WantedBy, Aliases, Path []string
			ServiceConfig           map[string]string
		}
		Timers map[string]struct{ WantedBy []string }
	}
	Initrd struct {
		Enable     bool
		StorePaths []string
		Contents   map[string]struct{ Text, Source string }
		Services   map[string]nixService
	}
}

type nixService struct {
	WantedBy, Requires, After, Before, Conflicts []string
	UnitConfig, ServiceConfig                    map[string]any
}

// TestNixOSModule evaluates a machine and feeds what the module writes to our own reader of the configuration.
func TestNixOSModule(t *testing.T) {
	var m nixMachine
	nix(t, "import ./machine.nix { configuration = ./desktop.nix; }", &m)
	if len(m.Failed) > 0 {
		t.Errorf("failed assertions: %q", m.Failed)
	}
	text := m.Etc["impermanence/conf.d/nixos.json"]
	if text == "" || text != m.Initrd.Contents["/etc/impermanence/conf.d/nixos.json"].Text {
		t.Errorf("root and initrd have different configurations:\n%s\n%+v", text, m.Initrd.Contents)
	}
	got, err := config.ParseBytes("nixos.json", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want, err := config.ParseBytes("want.toml", []byte(readFile(t, "nixos/desktop.toml")))
	if err != nil {
		t.Fatal(err)
	}
	withoutOrigin := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Origin" }, cmp.Ignore())
	if diff := cmp.Diff(want, got, withoutOrigin); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !m.Initrd.Enable {
		t.Error("the initrd is without systemd")
	}
	for _, unit := range presetUnits(t) {
		name, ending, _ := strings.Cut(unit, ".")
		have := m.Systemd.Services[name].WantedBy
		if ending == "timer" {
			have = m.Systemd.Timers[name].WantedBy
		}
		if want := unitValues(readFile(t, "../systemd-units/system/"+unit), "WantedBy"); !slices.Equal(have, want) {
			t.Errorf("%s is wanted by %q, elsewhere by %q", unit, have, want)
		}
	}
	if notice := m.Systemd.Services["impermanence-login-notice"]; !strings.Contains(m.AtLogin, "cat /run/motd.d/impermanence.motd") {
		t.Errorf("nobody is told what %+v has found: %q", notice, m.AtLogin)
	}
}

// TestNixOSHasWhatUnitsRun: of programs that are given without a path its systemd finds its own alone, and there is nothing but env in /usr/bin.
func TestNixOSHasWhatUnitsRun(t *testing.T) {
	var m nixMachine
	nix(t, "import ./machine.nix { configuration = ./desktop.nix; }", &m)
	const utilLinux = "/nix/store/util-linux"
	for _, file := range globbed(t, "../systemd-units/system/*.service") {
		service := m.Systemd.Services[strings.TrimSuffix(filepath.Base(file), ".service")]
		for _, command := range regexp.MustCompile(`(?m)^Exec\w+=-?(.*)$`).FindAllStringSubmatch(readFile(t, file), -1) {
			program, _, _ := strings.Cut(command[1], " ")
			inShell := program == "/bin/sh" && regexp.MustCompile(`\b(mount|findmnt)\b`).MatchString(command[1])
			switch {
			case strings.HasPrefix(program, "/usr/bin/") && program != "/usr/bin/impermanence":
				t.Errorf("%s: there is no %s", file, program)
			case inShell && !slices.Contains(service.Path, utilLinux):
				t.Errorf("%s: %s is run with the path %q", file, command[1], service.Path)
			case !strings.HasPrefix(program, "/") && program != "busctl" && service.ServiceConfig["ExecSearchPath"] != utilLinux+"/bin":
				t.Errorf("%s: %s is looked for in %q", file, program, service.ServiceConfig["ExecSearchPath"])
			}
		}
	}
}

// TestNixOSIgnoresWhatActivationMakes: the rules are the vendor's, and each file below /etc by itself.
func TestNixOSIgnoresWhatActivationMakes(t *testing.T) {
	var m nixMachine
	nix(t, `import ./machine.nix { configuration = { imports = [ ./desktop.nix ];
		environment.etc."ssh/ssh_config".text = ""; environment.etc.other = { target = "odd[*]"; text = ""; }; }; }`, &m)
	text := m.Etc["impermanence/ignore.nixos"]
	rules := &losses.Rules{}
	rules.Add("/", "ignore.nixos", text)
	for p, ignored := range map[string]bool{
		"/tmp/a": true, "/etc/static": true, "/etc/ssh/ssh_config": true, "/etc/odd[*]": true, "/etc/impermanence/ignore.nixos": true,
		"/etc/ssh/ssh_host_ed25519_key": false, "/etc/odd*": false, "/etc/other": false, "/home/u/etc/ssh/ssh_config": false,
	} {
		if got := rules.Ignored(p, false) != nil; got != ignored {
			t.Errorf("%s is ignored: %t, by\n%s", p, got, text)
		}
	}
}

// TestNixOSInitrdUnits holds the services of the module against the unit files that are installed elsewhere.
func TestNixOSInitrdUnits(t *testing.T) {
	var m nixMachine
	nix(t, "import ./machine.nix { configuration = ./desktop.nix; }", &m)
	for name, wantedBy := range map[string]string{"impermanence-rollover": "sysroot.mount", "impermanence-initrd-persist": "initrd.target"} {
		unit, s := readFile(t, "../systemd-units/initrd/"+name+".service"), m.Initrd.Services[name]
		if !slices.Contains(s.WantedBy, wantedBy) {
			t.Errorf("%s is wanted by %q", name, s.WantedBy)
		}
		for key, have := range map[string][]string{"After": s.After, "Before": s.Before, "Requires": s.Requires, "Conflicts": s.Conflicts} {
			if want := strings.Fields(strings.Join(unitValues(unit, key), " ")); !slices.Equal(want, have) {
				t.Errorf("%s: %s= is %q, in the unit file %q", name, key, have, want)
			}
		}
		for key, have := range s.ServiceConfig {
			want := strings.Join(unitValues(unit, key), "\n")
			have := strings.NewReplacer("/nix/store/impermanence/lib", "/usr/lib", "/nix/store/util-linux", "").Replace(text(have))
			if have != want {
				t.Errorf("%s: %s= is %q, in the unit file %q", name, key, have, want)
			}
		}
		_, section, _ := strings.Cut(unit, "[Service]")
		if n := len(regexp.MustCompile(`(?m)^\w+=`).FindAllString(section, -1)); n != len(s.ServiceConfig) {
			t.Errorf("%s has %d settings in its section Service, the unit file %d", name, len(s.ServiceConfig), n)
		}
	}
	if !slices.Contains(m.Initrd.StorePaths, "/nix/store/impermanence/lib/impermanence/impermanence-initrd") {
		t.Errorf("the initrd has %q", m.Initrd.StorePaths)
	}
}

// TestNixOSSaysWhatIsWrong holds what a person is told.
func TestNixOSSaysWhatIsWrong(t *testing.T) {
	var m nixMachine
	nix(t, `import ./machine.nix { configuration = { imports = [ ./desktop.nix ]; boot.initrd.systemd.enable = false; }; }`, &m)
	if len(m.Failed) != 1 || !strings.Contains(m.Failed[0], "boot.initrd.systemd.enable") {
		t.Errorf("a scripted initrd: %q", m.Failed)
	}
	nix(t, `import ./machine.nix { configuration = {
		fileSystems."/late".device = "/dev/sda3";
		environment.persistence."/late".files = [ "/etc/machine-id" ];
	}; }`, &m)
	if len(m.Failed) != 1 || !strings.Contains(m.Failed[0], `fileSystems."/late".neededForBoot`) {
		t.Errorf("a volume that is mounted late: %q", m.Failed)
	}
	for volume, want := range map[string]string{
		"/nix/persist": "", "/persist/system": "", "/persist/": "", "/late/inner": `fileSystems."/late".neededForBoot`, "/keep": "it is on the root",
		"/home/persist": "it is on /home",
	} {
		nix(t, `import ./machine.nix { configuration = {
			fileSystems."/" = { device = "none"; fsType = "tmpfs"; };
			fileSystems."/nix".device = "/dev/sda2";
			fileSystems."/persist" = { device = "/dev/sda3"; neededForBoot = true; };
			fileSystems."/late".device = "/dev/sda4";
			fileSystems."/home" = { device = "/dev/sda5"; neededForBoot = true; };
			services.impermanence.ephemeral."/home" = { };
			boot.initrd.systemd.enable = true;
			environment.persistence."`+volume+`".files = [ "/etc/machine-id" ];
		}; }`, &m)
		if told := strings.Join(m.Failed, "\n"); want == "" && told != "" || !strings.Contains(told, want) {
			t.Errorf("a volume at %s: %q", volume, m.Failed)
		}
	}
	for _, wrong := range []string{
		`{ environment.persistence."/p".folders = [ ]; }`,
		`{ environment.persistence."/p".files = [ { file = "/a"; method = "magic"; } ]; }`,
		`{ environment.persistence."/p".hideMounts = "yes"; }`,
	} {
		if err := tryNix(t, `import ./machine.nix { configuration = `+wrong+`; }`, &m); err == nil || !strings.Contains(err.Error(), "environment.persistence") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	var nothing nixMachine
	nix(t, `import ./machine.nix { configuration = { }; }`, &nothing)
	if len(nothing.Etc) > 0 || nothing.Initrd.Enable {
		t.Errorf("a machine that is not configured gets %+v", nothing)
	}
}

// TestFlake evaluates the flake's outputs. The hash of the vendored modules is written at a release (make vendor-hash).
func TestFlake(t *testing.T) {
	var got struct {
		Module  string
		Package map[string]any
	}
	nix(t, `let
		lib = import ./lib.nix;
		flake = import ../../flake.nix;
		package = { callPackage = file: _: import file { inherit lib; buildGoModule = p: if builtins.isFunction p then p { } else p; bash = "/bash"; }; };
		outputs = flake.outputs { self = outputs; nixpkgs = { inherit lib; legacyPackages.x86_64-linux = package; }; };
	in {
		module = toString outputs.nixosModules.default;
		package = builtins.removeAttrs outputs.packages.x86_64-linux.default [ "src" "meta" ];
	}`, &got)
	if filepath.Base(got.Module) != "nixos" {
		t.Errorf("the module is %s", got.Module)
	}
	hash, _ := got.Package["vendorHash"].(string)
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(hash, "sha256-")); err != nil || len(sum) != 32 {
		t.Errorf("vendorHash is %q", hash)
	}
	if !slices.Contains(got.Package["makeFlags"].([]any), any("PREFIX=$(out)")) {
		t.Errorf("the package is made by %v", got.Package)
	}
}

// unitValues lists what a key of a unit file is set to.
func unitValues(unit, key string) []string {
	var values []string
	for _, m := range regexp.MustCompile(`(?m)^`+key+`=(.*)$`).FindAllStringSubmatch(unit, -1) {
		values = append(values, m[1])
	}
	return values
}

// text is a setting as a unit file has it.
func text(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case string:
		return v
	}
	return ""
}
