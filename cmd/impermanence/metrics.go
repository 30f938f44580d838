package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// metricsCommand prints how things are for a monitoring system.
func (a *app) metricsCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:        "metrics",
		SuggestFor: []string{"prometheus", "monitor", "monitoring"},
		Short:      "Print how things are for Prometheus",
		Long: `Print how things are as Prometheus reads it: what happened at this boot, entries
by state, old roots, the last prune, and how much is wrong. A daemon that does
not answer is impermanence_up 0. With --output the textfile collector of its
node exporter reads it; impermanence-metrics.timer does that every five minutes.`,
		Example: `  impermanence metrics
  impermanence metrics --output /srv/textfile/impermanence.prom`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.metrics(cmd.Context(), file) },
	}
	cmd.Flags().StringVar(&file, "output", "", "write to this `FILE`, whole or not at all")
	return cmd
}

// metrics prints the metrics, or writes them to a file.
func (a *app) metrics(ctx context.Context, file string) error {
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() { // a rename would replace a device or a link, too
		return &usageError{fmt.Errorf("metrics: --output: %s is there, and is no regular file", file), "impermanence metrics"}
	}
	s, err := a.state(ctx)
	if err != nil && !errors.Is(err, dbus.ErrUnreachable) {
		return err
	}
	var text bytes.Buffer
	exposition{&text}.state(s)
	if file == "" {
		a.stdout.line("%s", bytes.TrimSuffix(text.Bytes(), []byte("\n")))
		return err
	}
	const mode = 0o644 // another user's program reads it
	if writeErr := renameio.WriteFile(file, text.Bytes(), mode, renameio.IgnoreUmask()); writeErr != nil {
		return errors.Join(fmt.Errorf("write metrics: %w", writeErr), err)
	}
	return err
}

// state writes what there is to tell of a state; nil when the daemon does not answer.
func (e exposition) state(s *state) {
	e.gauge("impermanence_up", "Whether the daemon answers.", sample{value: truth(s != nil)})
	if s == nil {
		return
	}
	e.gauge("impermanence_info", "What runs, on which file system.",
		sample{labels{{"version", s.manager.Version}, {"filesystem", s.manager.Filesystem}}, 1})
	e.boot(s)
	e.entries(s.entries)
	e.roots(s)
	e.gauge("impermanence_configuration_errors", "What is wrong with the configuration; while it is not 0 the last good one is in force.",
		sample{value: float64(len(s.manager.ConfigurationErrors))})
	e.gauge("impermanence_jobs_active", "Jobs that have not ended.", sample{value: float64(len(s.jobs))})
	e.gauge("impermanence_problems", "What is wrong, as impermanence status tells it.", sample{value: float64(len(s.problems()))})
}

// boot writes what happened at this boot and what happens at the next.
func (e exposition) boot(s *state) {
	outcome := s.boot.Outcome
	if outcome == "" {
		outcome = "unknown"
	}
	e.oneOf("impermanence_rollover_outcome", "What became of the root at this boot.", "outcome", outcome,
		"fresh", "restored", "kept", "skipped", "failed", "unknown")
	if !s.boot.When.IsZero() {
		e.gauge("impermanence_rollover_timestamp_seconds", "When the root was rolled over.", sample{value: seconds(s.boot.When)})
	}
	if s.boot.Duration > 0 {
		e.gauge("impermanence_rollover_duration_seconds", "How long that took.", sample{value: s.boot.Duration.Seconds()})
	}
	e.oneOf("impermanence_next_boot", "What the next boot does with the root.", "action", s.next.Action, nextFresh, nextKeep, nextRoot)
}

// entries writes how many entries are in each state.
func (e exposition) entries(entries []dbus.Entry) {
	count := map[string]int{}
	for _, entry := range entries {
		count[entry.State]++
	}
	var samples []sample
	for _, state := range []string{inPlace, nextBootState, "missing", "conflict", "drifted", "failed"} {
		samples = append(samples, sample{labels{{"state", state}}, float64(count[state])})
	}
	e.gauge("impermanence_entries", "Entries by state.", samples...)
}

// roots writes what is kept of old roots.
func (e exposition) roots(s *state) {
	count := map[string]int{}
	var pinned, held float64
	for _, r := range s.roots {
		count[r.Kind]++
		pinned += truth(r.Pinned)
		held += float64(r.Size)
	}
	e.gauge("impermanence_roots", "Old roots and snapshots that are kept.",
		sample{labels{{"kind", "old"}}, float64(count["old"])}, sample{labels{{"kind", kindSnapshot}}, float64(count[kindSnapshot])})
	e.gauge("impermanence_roots_pinned", "Those of them that are pinned.", sample{value: pinned})
	e.gauge("impermanence_roots_exclusive_bytes", "What only they hold, as far as it is known.", sample{value: held})
	if len(s.roots) > 0 {
		e.gauge("impermanence_roots_oldest_timestamp_seconds", "When the oldest of them was rolled over.", sample{value: seconds(s.roots[0].RolledOver)})
	}
	if last := s.manager.LastPrune; !last.IsZero() {
		e.gauge("impermanence_last_prune_timestamp_seconds", "When pruning last ended, in this boot.", sample{value: seconds(last)})
	}
}
