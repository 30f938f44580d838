package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// journal remembers the jobs that run, so that the process after one that was killed knows of them. A job's record is
// written before the job begins and removed when it has ended: what a kill leaves are the records of what it interrupted.
// The directory belongs to one boot, as the jobs do.
type journal struct {
	dir string // empty: nothing is remembered
	log Log

	mu   sync.Mutex
	next uint64 // what the journal says is the id of the next job
}

// record is what the journal holds of a job.
type record struct {
	Operation string    `json:"operation"`
	Objects   []string  `json:"objects,omitempty"`
	Sender    string    `json:"sender"`
	UID       uint32    `json:"uid"`
	Started   time.Time `json:"started"`
	process
}

// process names a process of this boot for good: its number is used again.
type process struct {
	PID   int    `json:"pid"`
	Begun uint64 `json:"begun"` // in clock ticks after the boot
}

// processOf finds the one that has a number now.
func processOf(pid int) (process, error) {
	p := process{PID: pid}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return p, err
	}
	const begun = 19 // counted after the program's name, which may have anything in it: proc_pid_stat(5)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= begun {
		return p, fmt.Errorf("read /proc/%d/stat: %w", pid, io.ErrUnexpectedEOF)
	}
	p.Begun, err = strconv.ParseUint(string(fields[begun]), 10, 64)
	return p, err
}

// abandoned tells whether the process that ran the job is gone. A daemon that ends gives its name back before its last
// jobs are done, so the next one may find it at work.
func (r record) abandoned() bool {
	now, err := processOf(r.PID)
	return err != nil || now != r.process || r.PID == os.Getpid()
}

const (
	recordSuffix = ".json"
	nextName     = "next" // holds the id of the next job
)

func (j *journal) path(id uint64) string {
	return filepath.Join(j.dir, strconv.FormatUint(id, 10)+recordSuffix)
}

// begin remembers a job, and first that its id is taken. A journal that can't be written costs the next process its
// knowledge, not this one its job.
func (j *journal) begin(job Job) {
	if j.dir == "" {
		return
	}
	err := j.count(job.ID)
	if err == nil {
		here, _ := processOf(os.Getpid()) // where it is not to be seen, it won't be after it has ended
		err = j.write(j.path(job.ID), record{job.Operation, job.Objects, job.Sender, job.UID, job.Started, here})
	}
	if err != nil {
		j.log.Warnw("remember the job", "job", job.ID, "error", err)
	}
}

// count remembers that an id is taken. Jobs that begin at a time come in any order.
func (j *journal) count(id uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if id < j.next {
		return nil
	}
	j.next = id + 1
	return j.write(filepath.Join(j.dir, nextName), j.next)
}

func (j *journal) write(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o600, renameio.WithTempDir(j.dir))
}

// end forgets a job that has ended.
func (j *journal) end(id uint64) {
	if j.dir == "" {
		return
	}
	if err := os.Remove(j.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.log.Warnw("forget the job", "job", id, "error", err)
	}
}

// load returns the id of the next job and the jobs that were interrupted. What can't be read is left out, and its id is
// not given again.
func (j *journal) load() (next uint64, interrupted []Job) {
	next = 1
	if j.dir == "" {
		return next, nil
	}
	entries, err := os.ReadDir(j.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.log.Warnw("read the journal of jobs", "error", err)
	}
	for _, e := range entries {
		name, isRecord := strings.CutSuffix(e.Name(), recordSuffix)
		id, err := strconv.ParseUint(name, 10, 64)
		if !isRecord || err != nil {
			continue
		}
		next = max(next, id+1)
		var r record
		if err := j.read(e.Name(), &r); err != nil {
			j.log.Warnw("read the journal of jobs", "error", err)
			continue
		}
		if !r.abandoned() {
			continue
		}
		interrupted = append(interrupted, Job{
			ID: id, Operation: r.Operation, Objects: r.Objects, Sender: r.Sender, UID: r.UID, Started: r.Started,
			State: Done, Result: Failed,
			Err: fmt.Errorf("%w: the daemon ended while the job ran; what it had done by then stands", ErrInterrupted),
		})
	}
	var counted uint64
	if err := j.read(nextName, &counted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.log.Warnw("read the journal of jobs", "error", err)
	}
	return max(next, counted), interrupted
}

func (j *journal) read(name string, to any) error {
	data, err := os.ReadFile(filepath.Join(j.dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
