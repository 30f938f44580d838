package dbus

import (
	"bufio"
	"bytes"
	"fmt"
)

// greeting is a client's side of the authentication. godbus says one line after the other, and waits for an answer to each.
// It is answered here, and the bus is told all of it at once, with the first message, as sd-bus does it: that saves three
// waits for another process. The bus takes the user from the socket. D-Bus Specification, "Authentication Protocol".
// A nil greeting has been said and answered.
type greeting struct {
	said, heard bool
	refused     chan error // what the bus said instead of OK
}

func newGreeting() *greeting { return &greeting{refused: make(chan error, 1)} }

const authentication = "\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"

// answers are what godbus is told when it says a line.
var answers = map[string]string{
	"AUTH\r\n":          "REJECTED EXTERNAL\r\n",
	"AUTH EXTERNAL\r\n": "OK 00000000000000000000000000000000\r\n",
}

// answer is what godbus reads next; begun says that messages follow.
func (g *greeting) answer(line []byte) (answer []byte, begun bool) {
	return []byte(answers[string(line)]), bytes.Equal(line, []byte("BEGIN\r\n"))
}

// before is what goes to the bus before a message.
func (g *greeting) before(message []byte) []byte {
	if g == nil || g.said {
		return message
	}
	g.said = true
	return append([]byte(authentication), message...)
}

// hear reads what the bus answers, before its first message.
func (g *greeting) hear(in *bufio.Reader) error {
	for g != nil && !g.heard {
		line, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte("OK ")):
			g.heard = true
		case !bytes.HasPrefix(line, []byte("DATA")):
			err := fmt.Errorf("it does not let this user in: %q", bytes.TrimSpace(line))
			g.refused <- err // once: nothing is read after an error
			return err
		}
	}
	return nil
}
