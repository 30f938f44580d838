package bustest

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// BrokerEnv makes Start run dbus-broker instead of dbus-daemon when it is set.
const BrokerEnv = "IMPERMANENCE_TEST_DBUS_BROKER"

// Types of messages, and "no matter" for the policy of dbus-broker.
const (
	methodCall = 1
	anyType    = 0
	eitherWay  = 0 // broadcast or not
)

type ownRule struct {
	Allow    bool
	Priority uint64
	Prefix   bool
	Name     string
}

type messageRule struct {
	Allow                         bool
	Priority                      uint64
	Name, Path, Interface, Member string
	Type, Broadcast               uint32
	LeastFDs, MostFDs             uint64
}

type brokerRules struct {
	Allow         bool // to connect
	Priority      uint64
	Own           []ownRule
	Send, Receive []messageRule
}

// brokerPolicy is what dbus-broker-launch sends for a bus configuration (dbus-broker, src/launch/policy.c).
type brokerPolicy struct {
	Users []struct {
		UID   uint32
		Rules brokerRules
	}
	Groups []struct {
		Group       bool
		First, Last uint32
		Rules       brokerRules
	}
	SELinux  []struct{ Name, Context string }
	AppArmor bool
	Type     string
}

// rules are those of the system's bus with what is on the bus of a test: anybody may connect, and call the services there;
// root alone may own a name.
func rules(own bool) brokerRules {
	message := func(allow bool, priority uint64, name string, kind uint32) messageRule {
		return messageRule{allow, priority, name, "", "", "", kind, eitherWay, 0, math.MaxUint64}
	}
	r := brokerRules{Allow: true, Priority: 1, Own: []ownRule{{own, 1, true, ""}, {true, 2, false, polkitName}}}
	r.Send = []messageRule{message(true, 1, "", anyType), message(false, 2, "", methodCall)}
	for _, name := range []string{"org.freedesktop.DBus", "org.impermanence1", polkitName} {
		r.Send = append(r.Send, message(true, 3, name, anyType))
	}
	agent := message(true, 3, "", anyType) // polkit calls agents by their unique names
	agent.Interface = "org.freedesktop.PolicyKit1.AuthenticationAgent"
	r.Send = append(r.Send, agent)
	if own {
		r.Send = append(r.Send, message(true, 4, "", anyType))
	}
	r.Receive = []messageRule{message(true, 1, "", anyType)}
	return r
}

// startBroker runs dbus-broker as its launcher does, and returns its address.
func startBroker(t testing.TB) string {
	t.Helper()
	socket := filepath.Join(PublicDir(t), "socket")
	ours, theirs := socketPair(t)
	log, brokerLog := socketPair(t)
	t.Cleanup(func() { log.Close() })
	cmd := exec.Command("dbus-broker", "--controller", "3", "--log", "4", "--machine-id", "0123456789abcdef0123456789abcdef",
		"--max-bytes", fmt.Sprint(512<<20), "--max-fds", "4096", "--max-matches", "16384", "--max-objects", "16384")
	cmd.ExtraFiles = []*os.File{theirs, brokerLog}
	launch(t, cmd)
	theirs.Close()
	brokerLog.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	controller, err := godbus.DialUnix(conn.(*net.UnixConn))
	if err == nil {
		err = controller.Auth(nil)
	}
	if err != nil {
		t.Fatalf("greet dbus-broker: %v", err)
	}
	t.Cleanup(func() { controller.Close() })
	listenOn(t, controller, socket)
	return "unix:path=" + socket
}

// listenOn has the broker listen on a socket, for the rules of a test's bus.
func listenOn(t testing.TB, controller *godbus.Conn, path string) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	file, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := file.Fd()
	if err := unix.SetNonblock(int(fd), true); err != nil { // which Fd takes away
		t.Fatal(err)
	}
	policy := brokerPolicy{Type: "system"}
	for uid, own := range map[uint32]bool{math.MaxUint32: false, 0: true} {
		policy.Users = append(policy.Users, struct {
			UID   uint32
			Rules brokerRules
		}{uid, rules(own)})
	}
	call := &godbus.Message{Type: godbus.TypeMethodCall, Headers: map[godbus.HeaderField]godbus.Variant{
		godbus.FieldPath:      godbus.MakeVariant(godbus.ObjectPath("/org/bus1/DBus/Broker")),
		godbus.FieldInterface: godbus.MakeVariant("org.bus1.DBus.Broker"),
		godbus.FieldMember:    godbus.MakeVariant("AddListener"),
		godbus.FieldSignature: godbus.MakeVariant(godbus.SignatureOf(godbus.ObjectPath(""), godbus.UnixFD(0), godbus.MakeVariant(""))),
	}, Body: []any{godbus.ObjectPath("/org/bus1/DBus/Listener/0"), godbus.UnixFD(fd), godbus.MakeVariant(policy)}}
	if err := (<-controller.Send(call, make(chan *godbus.Call, 1)).Done).Err; err != nil {
		t.Fatalf("have dbus-broker listen: %v", err)
	}
}

func socketPair(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
}
