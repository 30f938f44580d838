package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/term"
)

// A full-screen list by hand, with golang.org/x/term: bubbletea asks every terminal for its colors as soon as a program
// that links it starts, whatever the program does, and waits five seconds where none answers.

// The control sequences of xterm that every terminal of today has (ctlseqs).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	homeCursor  = "\x1b[H"
	clearRight  = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// keySequences are the keys that terminals send as sequences.
var keySequences = map[string]string{
	"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
	"\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
	"\x1b[5~": "pgup", "\x1b[6~": "pgdown",
	"\x1b[H": "home", "\x1b[1~": "home", "\x1b[7~": "home", "\x1bOH": "home",
	"\x1b[F": "end", "\x1b[4~": "end", "\x1b[8~": "end", "\x1bOF": "end",
	"\r": "enter", "\n": "enter", "\x03": "ctrl+c", "\x1b": "esc",
}

// nextKey takes the first key off what a terminal has sent; what nobody knows is "".
func nextKey(sent string) (key, rest string) {
	if len(sent) > 1 && sent[0] == '\x1b' && (sent[1] == '[' || sent[1] == 'O') {
		end := 2
		for end < len(sent) && (sent[end] < '@' || sent[end] > '~') {
			end++
		}
		end = min(end+1, len(sent))
		return keySequences[sent[:end]], sent[end:]
	}
	if known, ok := keySequences[sent[:1]]; ok {
		return known, sent[1:]
	}
	return sent[:1], sent[1:]
}

// keyboard is the terminal, keys and screen, that this process was started in.
type keyboard struct {
	*os.File
	before *term.State
}

// standardInput is the same terminal, by a file whose descriptor one may ask for: another's deadlines would end by that.
func standardInput() int { return int(os.Stdin.Fd()) }

// openKeyboard takes the terminal over.
func openKeyboard() (*keyboard, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	t := &keyboard{File: f}
	return t, t.take()
}

func (t *keyboard) take() error {
	before, err := term.MakeRaw(standardInput())
	if err != nil {
		return fmt.Errorf("take over the terminal: %w", err)
	}
	t.before = before
	_, err = t.WriteString(enterScreen)
	return err
}

// giveBack leaves the terminal as it was.
func (t *keyboard) giveBack() error {
	_, err := t.WriteString(leaveScreen)
	return errors.Join(err, term.Restore(standardInput(), t.before))
}

// lend has another program use the terminal.
func (t *keyboard) lend(cmd *exec.Cmd) error {
	if err := t.giveBack(); err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.File, t.File, t.File
	return errors.Join(cmd.Run(), t.take())
}

// draw shows a screen.
func (t *keyboard) draw(screen string) error {
	lines := strings.ReplaceAll(screen, "\n", clearRight+"\r\n")
	_, err := io.WriteString(t, homeCursor+lines+clearRight+clearBelow)
	return err
}

// interrupt has a wait for keys end whenever something else happens.
func (t *keyboard) interrupt(ctx context.Context, resized <-chan os.Signal, done <-chan struct{}) {
	canceled := ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-canceled:
			canceled = nil
		case <-resized:
		}
		_ = t.SetReadDeadline(time.Unix(1, 0))
	}
}

// run shows the list until it is left. A change of the terminal's size, and the end of ctx, interrupt the wait for a key.
func (p *picker) run(ctx context.Context) (err error) {
	if shown, ok := ctx.Value(listShown{}).(*atomic.Bool); ok {
		shown.Store(true)
		defer shown.Store(false)
	}
	t, err := openKeyboard()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.giveBack(), t.Close()) }()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	done := make(chan struct{})
	defer close(done)
	go t.interrupt(ctx, resized, done)
	for !p.left {
		if width, height, err := term.GetSize(standardInput()); err == nil && width > 0 && height > 0 { // a serial line knows none
			p.resize(width, height)
		}
		if err := t.draw(p.View()); err != nil {
			return err
		}
		if err := p.read(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// read waits for keys, and does what they mean.
func (p *picker) read(ctx context.Context, t *keyboard) error {
	buffer := make([]byte, 256)
	n, err := t.Read(buffer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return t.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return err
	}
	p.said = ""
	for key, sent := "", string(buffer[:n]); sent != "" && !p.left; {
		key, sent = nextKey(sent)
		if cmd := p.key(key); cmd != nil {
			if err := t.lend(cmd); err != nil {
				p.said = err.Error()
			}
		}
	}
	return nil
}
