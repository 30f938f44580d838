package bustest

import (
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// DialAs connects to a bus as another user, with godbus as it is: such a connection
// passes file descriptors, as a stranger's may.
func DialAs(t testing.TB, address string, uid uint32) *godbus.Conn {
	t.Helper()
	conn, err := godbus.DialUnix(socketAs(t, address, uid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Auth([]godbus.Auth{godbus.AuthExternal(strconv.FormatUint(uint64(uid), 10))}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Hello(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// socketAs connects a socket in a thread that belongs to the user, which ends with it.
func socketAs(t testing.TB, address string, uid uint32) *net.UnixConn {
	t.Helper()
	path := strings.TrimPrefix(address, "unix:path=")
	path, _, _ = strings.Cut(path, ",")
	type result struct {
		conn *net.UnixConn
		err  error
	}
	dialed := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: nobody else gets this thread
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			dialed <- result{nil, errno}
			return
		}
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		dialed <- result{conn, err}
	}()
	r := <-dialed
	if r.err != nil {
		t.Fatalf("connect to %s as %d: %v", path, uid, r.err)
	}
	return r.conn
}
