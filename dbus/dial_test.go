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
	for name, answers := range map[string][]string{
		"silent":                   nil,
		"silent after the methods": {"REJECTED EXTERNAL\r\n"},
		"silent after the guid":    {"REJECTED EXTERNAL\r\n", "OK 0123456789abcdef0123456789abcdef\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, bus := net.Pipe()
				defer bus.Close()
				go answerLines(bus, answers)
				_, err := authenticate(t.Context(), newTransport(&socket{Conn: ours}, nil))
				if want := "greet bus: daemon out of reach: no answer within 25s"; !errors.Is(err, ErrUnreachable) || err.Error() != want {
					t.Errorf("error %q, want %q", err, want)
				}
			})
		})
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

// answerLines reads what comes, and answers each time with the next line, as long as there are any.
func answerLines(conn net.Conn, answers []string) {
	buffer := make([]byte, 1024)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if len(answers) > 0 && strings.HasPrefix(string(buffer[:n]), "AUTH") {
			_, _ = conn.Write([]byte(answers[0])) // an error comes of a caller that has gone
			answers = answers[1:]
		}
	}
}
