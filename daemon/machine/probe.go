package machine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Probe tells what is on a device, read from it now: the tags of blkid(8), such as TYPE, LABEL and PTTYPE. Nothing there is no error.
func Probe(ctx context.Context, device string) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "blkid", "--probe", "--output", "export", device).Output()
	var exit *exec.ExitError
	const nothing = 2 // blkid(8): no information
	if errors.As(err, &exit) && exit.ExitCode() == nothing {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("blkid %s: %w", device, err)
	}
	tags := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		tags[key] = value
	}
	return tags, nil
}
