package jobs

import (
	"errors"
	"fmt"
	"time"
)

// State tells how far a job is.
type State string

// The states of a job, in their order.
const (
	Queued  State = "queued"
	Running State = "running"
	Done    State = "done" // it ended; Job.Result says how
)

// Result tells how a job ended.
type Result string

// The results. Partial means that some of a job's objects were dealt with and others were not.
const (
	NoResult  Result = "" // it has not ended
	Succeeded Result = "done"
	Failed    Result = "failed"
	Canceled  Result = "canceled"
	Partial   Result = "partial"
)

// Errors that callers act on.
var (
	ErrNoSuchJob     = errors.New("no such job")
	ErrNotCancelable = errors.New("can't be canceled")
	ErrBusy          = errors.New("busy")
	ErrTooMany       = errors.New("too many jobs")
	ErrStopping      = errors.New("the daemon is stopping")
	// ErrPanic marks the error of a job that panicked.
	ErrPanic = errors.New("panic")
	// ErrInterrupted marks the error of a job that ended with the process that ran it.
	ErrInterrupted = errors.New("interrupted")
)

// BusyError is ErrBusy with the job in the way.
type BusyError struct {
	Job       uint64
	Operation string
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("busy with job %d (%s)", e.Job, e.Operation)
}

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Job is how a job stood when it was asked for.
type Job struct {
	ID        uint64
	Operation string
	Objects   []string
	Sender    string
	UID       uint32
	Writes    []string // the resources that only this job writes to
	Started   time.Time

	State         State
	Progress      float64 // 0 to 1, never less than before
	ProgressValid bool
	Stage         string
	ItemsDone     uint64
	ItemsTotal    uint64 // 0 when not known
	Cancelable    bool
	Details       map[string]any

	Result Result
	Err    error // why it is Failed, Canceled or Partial
}

// Partly marks the error of a job that did some of its work: the job ends as Partial, which says so. It reads like the error itself.
func Partly(err error) error { return &partly{err} }

type partly struct{ error }

func (p *partly) Unwrap() error { return p.error }

// resultOf maps what a job's function returned.
func resultOf(err error, canceled bool) Result {
	switch {
	case err == nil:
		return Succeeded
	case canceled && isCancel(err):
		return Canceled
	case errors.As(err, new(*partly)):
		return Partial
	default:
		return Failed
	}
}
