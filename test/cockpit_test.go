package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/bustest"
)

// mayPrune lets everybody prune and mount old roots, and nothing else.
const mayPrune = `polkit.addRule(function(action, subject) {
	if (action.id == "org.impermanence1.prune" || action.id == "org.impermanence1.browse-roots") { return polkit.Result.YES; }
});`

// TestCockpitPage has a browser work the page of an administrator, against a real Cockpit and the real daemon.
func TestCockpitPage(t *testing.T) {
	browse(t, newPage(t, 0), "admin.test.mjs")
}

// TestCockpitPageOfAnOrdinaryUser is the page of one whom polkit allows little.
func TestCockpitPageOfAnOrdinaryUser(t *testing.T) {
	browse(t, newPage(t, bustest.Nobody), "user.test.mjs")
}

// TestCockpitPageIsUpset is the page when things go wrong while it is open.
func TestCockpitPageIsUpset(t *testing.T) {
	browse(t, newPage(t, 0), "upset.test.mjs")
}

// page is the page of a machine, as a user sees it in Cockpit.
type page struct {
	*booted
	url string
}

func newPage(t *testing.T, uid uint32) *page {
	t.Helper()
	p := &page{booted: newBooted(t)}
	p.serve(t, uid)
	return p
}

// booted is a machine that was booted twice.
type booted struct {
	machine string // directory with the top level, the root and what boots left
	device  string
	bus     string
}

func newBooted(t *testing.T) *booted {
	t.Helper()
	build(t)
	p := &booted{machine: t.TempDir(), device: btrfstest.NewDevice(t, 0), bus: bustest.StartWithPolkit(t, mayPrune)}
	writeFile(t, p.config(), fmt.Sprintf(pageConfig, p.device))
	btrfstest.Mount(t, p.device, p.top(), "subvolid=5")
	for _, name := range []string{"root", "persist", "old_roots", "old_roots/2024-11-04_10:33:02", "old_roots/2024-11-4_11:00:00", "old_roots/2024-11-05_09:00:00", "old_roots/2024-11-06_09:00:00"} {
		btrfstest.Subvolume(t, filepath.Join(p.top(), name))
	}
	p.boot(t)
	if err := os.Mkdir(p.top()+"/root/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, p.top()+"/root/etc/lost", "found")
	p.boot(t)
	btrfstest.Mount(t, p.device, p.sysroot(), "subvol=root")
	btrfstest.Mount(t, p.device, p.sysroot()+"/persist", "subvol=persist")
	if err := os.Mkdir(p.sysroot()+"/var", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, p.sysroot()+"/var/log", "a file where a directory is to be")
	p.early(t, "persist")
	return p
}

// pageConfig has an entry that can't be put in place, since the root has a file there.
const pageConfig = `[ephemeral."/"]
device = %q

[retention]
keepWithin = "30d"
keepLast = 2

[persistence."/persist"]
directories = ["/srv", "/var/log", "/etc/NetworkManager/system-connections"]
files = ["/etc/machine-id"]
`

func (p *booted) config() string  { return filepath.Join(p.machine, "impermanence.toml") }
func (p *booted) run() string     { return filepath.Join(p.machine, "run") }
func (p *booted) top() string     { return filepath.Join(p.machine, "run", "top") }
func (p *booted) sysroot() string { return filepath.Join(p.machine, "sysroot") }

// options are those of the daemon.
func (p *booted) options() []string {
	return []string{"--config=" + p.config(), "--device=" + p.device, "--sysroot=" + p.sysroot(), "--run-dir=" + p.run()}
}

// boot rolls over. The kernel under the tests boots once, so what the last boot left is dated to another.
func (p *booted) boot(t *testing.T) {
	t.Helper()
	if err := unix.Setxattr(p.top()+"/root", "trusted.impermanence.boot_id", []byte("another boot"), 0); err != nil {
		t.Fatal(err)
	}
	p.early(t, "rollover")
}

// lostOn is the old root that has /etc/lost.
func (p *booted) lostOn(t *testing.T) string {
	t.Helper()
	found := globbed(t, p.top()+"/old_roots/*/etc/lost")
	if len(found) != 1 {
		t.Fatalf("/etc/lost is at %q", found)
	}
	return filepath.Base(filepath.Dir(filepath.Dir(found[0])))
}

// early runs early boot; that it could not do everything is for the page to tell.
func (p *booted) early(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command("../bin/impermanence-initrd", command, "--keep-going", "--config="+p.config(), "--device="+p.device,
		"--sysroot="+p.sysroot(), "--run-dir="+p.run(), "--cmdline=quiet")
	if out, err := cmd.CombinedOutput(); err != nil && command == "rollover" {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// access is a way to administrative access that gives none.
const access = `{"bridges": [{"privileged": true, "label": "access", "spawn": ["cockpit-bridge", "--privileged"]}]}`

// serve runs Cockpit for one user without a login, with the page among those that the user has.
func (p *page) serve(t *testing.T, uid uint32) {
	t.Helper()
	home := homeOf(t, uid)
	pages := filepath.Join(home, "cockpit", "impermanence")
	if err := os.CopyFS(pages, os.DirFS("../systemd-units/cockpit")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(home, "cockpit", "access"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(home, "cockpit", "access", "manifest.json"), access)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	// The socket is handed over as systemd does it, so that a connection can't come too early. What Cockpit starts ends with the
	// first process of its namespace, which stays root's, since the kernel forgets whose end ends it when it changes its user.
	user := fmt.Sprint(uid)
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "sh", "-c", `"$@"; exit $?`, "init",
		"setpriv", "--reuid="+user, "--regid="+user, "--clear-groups",
		"sh", "-c", "LISTEN_PID=$$ exec /usr/lib/cockpit/cockpit-ws --no-tls --local-session=/usr/bin/cockpit-bridge")
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "DBUS_SYSTEM_BUS_ADDRESS="+p.bus, "DBUS_SESSION_BUS_ADDRESS=disabled:",
		"HOME="+home, "TMPDIR="+home, "XDG_DATA_HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_CONFIG_HOME="+home)
	start(t, cmd)
	p.url = fmt.Sprintf("http://%s/cockpit/@localhost/impermanence/index.html", listener.Addr())
}

// homeOf makes a home for a user, who may not look into what t.TempDir makes.
func homeOf(t *testing.T, uid uint32) string {
	t.Helper()
	home, err := os.MkdirTemp("", "home")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(home, int(uid), int(uid)); err != nil {
		t.Fatal(err)
	}
	return home
}

// start starts a process that ends with the test.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error means that it has ended by itself
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", cmd, readFile(t, log.Name()))
		}
	})
}

// browse runs a script of node's test runner, which starts the daemon, and Chromium on the page.
func browse(t *testing.T, p *page, script string) {
	t.Helper()
	pictures, err := filepath.Abs("../bin/pictures")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	installNodePackages(t)
	daemon, err := json.Marshal(append([]string{"../../bin/impermanenced"}, p.options()...))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "--test", script)
	cmd.Dir = "cockpit"
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+p.bus, "PAGE="+p.url, "DAEMON="+string(daemon), "TOP="+p.top(), "ROOT="+p.sysroot(),
		"LOST_ON="+p.lostOn(t), "CONFIG="+p.config(), "PICTURES="+pictures, "TZ=UTC")
	t.Cleanup(func() { _ = exec.Command("fsfreeze", "--unfreeze", p.top()).Run() }) // where the script did not come to that
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// installNodePackages gets what package-lock.json names, unless it is there.
func installNodePackages(t *testing.T) {
	t.Helper()
	have, _ := os.ReadFile("cockpit/node_modules/package-lock.json") // an error means that nothing is there
	want := readFile(t, "cockpit/package-lock.json")
	if string(have) == want {
		return
	}
	cmd := exec.Command("npm", "ci")
	cmd.Dir = "cockpit"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	writeFile(t, "cockpit/node_modules/package-lock.json", want)
}
