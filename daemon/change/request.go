package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/persist"
)

// Deed is what is to be done with an entry.
type Deed string

// The deeds.
const (
	Add     Deed = "add"     // begin to keep what is at a path
	Remove  Deed = "remove"  // end it: a copy takes the place, the source stays on the volume
	Unmount Deed = "unmount" // take the mount away until the next boot; the entry stays one
)

// Request asks for a change.
type Request struct {
	ID       string         `json:"id"` // stands in the reply again
	Deed     Deed           `json:"deed"`
	Target   string         `json:"target"`           // absolute and clean
	Volume   string         `json:"volume,omitempty"` // empty: the only one that is configured
	Kind     string         `json:"kind,omitempty"`   // empty: of what is there
	Method   persist.Method `json:"method"`
	User     string         `json:"user,omitempty"` // these as in the configuration
	Group    string         `json:"group,omitempty"`
	Mode     *uint32        `json:"mode,omitempty"`
	NextBoot bool           `json:"nextBoot,omitempty"` // only record it
	DryRun   bool           `json:"dryRun,omitempty"`   // only tell what would be done
}

// Reply is what became of a request.
type Reply struct {
	ID      string         `json:"id"`
	Plan    []Line         `json:"plan,omitempty"`    // what was to be done, in order
	Done    string         `json:"done,omitempty"`    // what was done: "seeded, bound"
	Writers []string       `json:"writers,omitempty"` // who writes to files or works in directories there, and which
	Method  persist.Method `json:"method"`            // of the entry
	Error   string         `json:"error,omitempty"`
	Cause   string         `json:"cause,omitempty"` // see Err
}

// Line is one line of a plan.
type Line struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Errors of a request itself. Those of doing it are errors of persist.
var (
	ErrInvalid       = errors.New("not possible")
	ErrNoSuchEntry   = errors.New("no such entry")
	ErrConfigured    = errors.New("it is configured in a file")
	ErrConfiguration = errors.New("the configuration is wrong")
)

// causes are the errors that stay what they are on their way through a file.
var causes = []struct {
	name string
	err  error
}{
	{"canceled", context.Canceled},
	{"invalid", ErrInvalid},
	{"no-such-entry", ErrNoSuchEntry},
	{"configured", ErrConfigured},
	{"configuration", ErrConfiguration},
	{"source-missing", persist.ErrSourceMissing},
	{"no-volume", persist.ErrNoVolume},
	{"conflict", persist.ErrConflict},
	{"wrong-kind", persist.ErrWrongKind},
	{"mount-point", persist.ErrMountPoint},
	{"mount-failed", persist.ErrMountFailed},
	{"busy", persist.ErrBusy},
	{"unknown-user", persist.ErrUnknownUser},
	{"unknown-group", persist.ErrUnknownGroup},
	{"unsafe-path", persist.ErrUnsafePath},
	{"invalid-entry", persist.ErrInvalidEntry},
	{"not-supported", persist.ErrNotSupported},
}

// replyError is an error that came through a file.
type replyError struct {
	text  string
	cause error
}

func (e *replyError) Error() string { return e.text }
func (e *replyError) Unwrap() error { return e.cause }

// fail puts an error into the reply.
func (r *Reply) fail(err error) {
	if err == nil {
		return
	}
	r.Error = err.Error()
	for _, c := range causes {
		if errors.Is(err, c.err) {
			r.Cause = c.name
			return
		}
	}
}

// Err gives the error that the change ended with, nil when it was done. It is the error that it was, in the sense of
// errors.Is, as far as that is one of this package or of persist.
func (r *Reply) Err() error {
	if r.Error == "" {
		return nil
	}
	for _, c := range causes {
		if c.name == r.Cause {
			return &replyError{r.Error, c.err}
		}
	}
	return errors.New(r.Error)
}

// The names of the files in the runtime directory.
const (
	requestName = "change-request.json"
	replyName   = "change-reply.json"
)

// WriteRequest leaves a request where ReadRequest finds it.
func WriteRequest(runDir string, r Request) error {
	return write(filepath.Join(runDir, requestName), r)
}

// ReadRequest reads what is asked for.
func ReadRequest(runDir string) (r Request, err error) {
	return r, read(filepath.Join(runDir, requestName), &r)
}

// WriteReply leaves a reply where ReadReply finds it.
func WriteReply(runDir string, r Reply) error { return write(filepath.Join(runDir, replyName), r) }

// ReadReply reads the reply to the request with this id. That there is none, or one to another request, is an error: what
// was to answer ended early.
func ReadReply(runDir, id string) (r Reply, err error) {
	err = read(filepath.Join(runDir, replyName), &r)
	if err == nil && r.ID != id {
		err = errors.New("the reply is to another request")
	}
	return r, err
}

func write(file string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = renameio.WriteFile(file, append(data, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(file)))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func read(file string, v any) error {
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}
