package bustest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

const polkitName = "org.freedesktop.PolicyKit1"

// mountActions puts directories of our own over those that polkitd reads.
func mountActions(t testing.TB, rules []string) {
	t.Helper()
	actions, ruleDir, none := PublicDir(t), PublicDir(t), PublicDir(t)
	policy, err := os.ReadFile(Unit(t, "org.impermanence1.policy"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(actions, "org.impermanence1.policy"), string(policy))
	for i, rule := range rules {
		write(t, filepath.Join(ruleDir, fmt.Sprintf("%02d-test.rules", i)), rule)
	}
	bind(t, actions, "/usr/share/polkit-1/actions")
	bind(t, none, "/usr/share/polkit-1/rules.d")
	bind(t, ruleDir, "/etc/polkit-1/rules.d")
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func bind(t testing.TB, source, target string) {
	t.Helper()
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("bind %s to %s: %v", source, target, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

// startPolkit runs polkitd and returns when it owns its name.
func startPolkit(t testing.TB, address string) {
	t.Helper()
	conn, err := godbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	signals := make(chan *godbus.Signal, 16)
	conn.Signal(signals)
	err = conn.AddMatchSignal(
		godbus.WithMatchSender("org.freedesktop.DBus"),
		godbus.WithMatchMember("NameOwnerChanged"),
		godbus.WithMatchArg(0, polkitName))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/lib/polkit-1/polkitd") // with --no-debug it would not say why it refuses
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+address)
	ended := launch(t, cmd)
	for {
		select {
		case s := <-signals:
			if s.Name == "org.freedesktop.DBus.NameOwnerChanged" && len(s.Body) == 3 && s.Body[0] == polkitName && s.Body[2] != "" {
				return
			}
		case <-ended:
			t.Fatal("polkitd ended before it owned its name")
		}
	}
}
