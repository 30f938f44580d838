package bustest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Nobody is the user that every system has and that may do nothing.
const Nobody = 65534

// Start runs a dbus-daemon and returns its address, which any user can connect to.
// The daemon is stopped at cleanup.
func Start(t testing.TB) string {
	t.Helper()
	return start(t, Unit(t, "org.impermanence1.conf"))
}

// StartWithPolkit is [Start] with a polkitd on the bus that knows the project's
// actions and nothing else; rules are JavaScript for it, as in polkit(8). It needs
// the private mount namespace that btrfstest.Main makes.
func StartWithPolkit(t testing.TB, rules ...string) string {
	t.Helper()
	mountActions(t, rules)
	address := start(t, Unit(t, "org.impermanence1.conf"), "/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf")
	startPolkit(t, address)
	return address
}

// As has cmd run as another user, who is in no group but one of the same number.
func As(cmd *exec.Cmd, uid uint32) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	return cmd
}

// Unit is the path of a file in the project's systemd-units.
func Unit(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "systemd-units", name)
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

// configuration is a bus like the system's: what system.conf of dbus-daemon 1.14
// allows and denies, without what starts services.
const configuration = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path=%s</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"
          send_member="UpdateActivationEnvironment"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
  </policy>
%s</busconfig>
`

func start(t testing.TB, policies ...string) string {
	t.Helper()
	if os.Getenv(BrokerEnv) != "" {
		return startBroker(t)
	}
	dir := PublicDir(t)
	var includes strings.Builder
	for _, p := range policies {
		fmt.Fprintf(&includes, "  <include>%s</include>\n", p)
	}
	config := filepath.Join(dir, "bus.conf")
	text := fmt.Sprintf(configuration, filepath.Join(dir, "socket"), includes.String())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", "--print-address", "--config-file="+config)
	stdout, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	cmd.Stdout = in
	launch(t, cmd)
	in.Close()
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("read the address of the bus: %v", err)
	}
	return strings.TrimSpace(address)
}

// PublicDir is a directory that every user can look into, other than t.TempDir.
func PublicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bustest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// launch starts cmd, and stops it at cleanup. The channel is closed when it has
// ended. What it writes, and that it ended by itself, is shown when the test fails.
func launch(t testing.TB, cmd *exec.Cmd) <-chan struct{} {
	t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	if cmd.Stdout == nil {
		cmd.Stdout = &said
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the signal comes when this thread ends, not only the process
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // tells at most that it was killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := cmd.Process.Kill() // an error means that it has ended by itself
		<-ended
		if t.Failed() && (err != nil || said.Len() > 0) {
			t.Logf("%s, %s: %s", cmd.Path, cmd.ProcessState, said.String())
		}
	})
	return ended
}
