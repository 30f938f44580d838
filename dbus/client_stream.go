package dbus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"strings"

	"github.com/segmentio/encoding/json" // several times as fast as the standard library's: a root may have a million differences
)

// Results are the lines of a large result, as they come. Whoever has one closes it.
type Results[T any] struct {
	client *Client
	job    uint64
	conn   net.Conn
	in     *bufio.Reader
}

// startStream calls a method of the manager that starts a job and streams its result.
func startStream[T any](ctx context.Context, c *Client, member string, args ...any) (*Results[T], error) {
	var job ObjectPath
	var path []byte
	if err := c.manage(ctx, member, args, []any{&job, &path}); err != nil {
		return nil, err
	}
	id, err := ParseJobPath(job)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", strings.TrimSuffix(string(path), "\x00"))
	if err != nil {
		return nil, fmt.Errorf("read job %d: %w: %w", id, ErrUnreachable, err)
	}
	return &Results[T]{c, id, conn, bufio.NewReaderSize(readAhead(conn), streamBuffer)}, nil
}

// Job is the job that produces the results. When they are all read it is about to end.
func (r *Results[T]) Job() uint64 { return r.job }

// Close lets go of the results. A job that has not sent all of them ends early, unless it has
// something else to do as well.
func (r *Results[T]) Close() error { return r.conn.Close() }

// Pending says whether more of the results is here already. Where it is not, the next one may take a while.
func (r *Results[T]) Pending() bool { return r.in.Buffered() > 0 }

// All are the results in their order. The last pair has an error when they are not
// complete: the job's own, or what is wrong with the way here. It can be read once.
func (r *Results[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for line, err := range r.Lines(ctx) {
			var v T
			if err == nil {
				if err = json.Unmarshal(line, &v); err != nil {
					err = fmt.Errorf("read job %d: %w: %w", r.job, ErrInternal, err)
				}
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Lines is All for who passes the results on: each is the JSON that the daemon has written, with the end of its line, and
// valid until the next.
func (r *Results[T]) Lines(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		stop := context.AfterFunc(ctx, func() { _ = r.conn.Close() })
		defer stop()
		for count := uint64(0); ; count++ {
			line, err := r.next(ctx, count)
			if line == nil && err == nil || !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// next reads one line; nil at the end.
func (r *Results[T]) next(ctx context.Context, count uint64) (line []byte, err error) {
	line, err = r.line()
	if err != nil {
		return nil, r.cut(ctx, err)
	}
	if bytes.HasPrefix(line, []byte(`{"end":true,`)) {
		var end streamEnd
		if err := json.Unmarshal(line, &end); err != nil || end.Lines != count {
			return nil, fmt.Errorf("read job %d: %w: %d lines of %d", r.job, ErrInternal, count, end.Lines)
		}
		return nil, nil
	}
	return line, nil
}

// line reads up to the end of a line, without copying one that the buffer has room for.
func (r *Results[T]) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	line = bytes.Clone(line)
	rest, err := r.in.ReadBytes('\n')
	return append(line, rest...), err
}

// cut is why the results ended early.
func (r *Results[T]) cut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read job %d: %w: %w", r.job, ErrUnreachable, err)
	}
	job, err := r.client.Wait(ctx, r.job, nil)
	if err == nil {
		err = job.Error.Err()
	}
	if err == nil {
		err = ErrInternal // it says that it has sent everything
	}
	return fmt.Errorf("the results of job %d are not complete: %w", r.job, err)
}
