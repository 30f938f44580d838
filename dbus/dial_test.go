package dbus

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A bus that takes connections and answers nothing, as systemd's socket does while dbus hangs, is out of reach; nobody
// waits for it for ever. What has stopped answering later is as bad.
func TestABusThatDoesNotAnswerIsOutOfReach(t *testing.T) {
	for name, answer := range map[string]string{
		"silent":                "",
		"silent after the data": "DATA\r\n",
		"silent after the guid": "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, bus := net.Pipe()
				defer bus.Close()
				go answerOnce(bus, answer)
				_, err := authenticate(t.Context(), newTransport(&socket{Conn: ours}, nil))
				if want := "greet bus: daemon out of reach: no answer within 25s"; !errors.Is(err, ErrUnreachable) || err.Error() != want {
					t.Errorf("error %q, want %q", err, want)
				}
			})
		})
	}
}

// A bus that lets nobody in says so.
func TestABusThatRefusesIsOutOfReach(t *testing.T) {
	ours, bus := net.Pipe()
	defer bus.Close()
	go answerOnce(bus, "REJECTED KERBEROS_V4\r\n")
	_, err := authenticate(t.Context(), newTransport(&socket{Conn: ours}, nil))
	want := "greet bus: daemon out of reach: it does not let this user in: \"REJECTED KERBEROS_V4\""
	if !errors.Is(err, ErrUnreachable) || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// socket is a connection that, as a socket, has an error for who closes it again.
type socket struct {
	net.Conn
	closed atomic.Bool
}

func (s *socket) Close() error {
	if s.closed.Swap(true) {
		return net.ErrClosed
	}
	return s.Conn.Close()
}

// answerOnce answers the authentication, all of which comes at once with the first message, and nothing after that.
func answerOnce(conn net.Conn, answer string) {
	buffer := make([]byte, 1024)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if strings.HasPrefix(string(buffer[:n]), authentication+"l") {
			_, _ = conn.Write([]byte(answer)) // an error comes of a caller that has gone
		}
	}
}
