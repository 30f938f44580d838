package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// Probe tells what is on a device, read from it now: the tags of blkid(8), such as TYPE, LABEL and PTTYPE. Nothing there is no error.
func Probe(ctx context.Context, device string) (map[string]string, error) {
	out, err := Output(ctx, "blkid", "--probe", "--output", "export", device)
	var exit *exec.ExitError
	const nothing = 2 // blkid(8): no information
	if errors.As(err, &exit) && exit.ExitCode() == nothing {
		return map[string]string{}, readable(device)
	}
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		tags[key] = value
	}
	return tags, nil
}

// Output runs a program and gives what it prints. Of one that fails the error has what it said.
func Output(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, fmt.Errorf("%s %s: %w: %s", name, args[len(args)-1], err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// readable tells why what blkid looks at can't be read: it calls that nothing. What is not there, as a partition that the kernel does not show
// yet, has nothing on it.
func readable(device string) error {
	f, err := os.Open(device)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	const looked = 1 << 20
	if _, err := io.CopyN(io.Discard, f, looked); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
