package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "limit" {
		end(limit(os.Args[2], os.Args[3:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	end(run(ctx, os.Stdout, os.Args[1:]))
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run measures the rows that the arguments ask for.
func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 7, "how often each contender does each row")
	only := flags.String("rows", "", "only the rows that match this `pattern`")
	against := flags.String("contenders", "", "ours against only those of the others that match this `pattern`")
	full := flags.Bool("full", false, "with the rows that take many minutes")
	bin := flags.String("bin", "bin", "`directory` of the binaries")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("read -rows: %w", err)
	}
	rivals, err := regexp.Compile(*against)
	if err != nil {
		return fmt.Errorf("read -contenders: %w", err)
	}
	s, err := newStage(*bin)
	if err != nil {
		return err
	}
	defer s.close()
	all, err := rows(s)
	if err != nil {
		return err
	}
	for _, r := range all {
		if !pattern.MatchString(r.name) || (r.long && !*full) {
			continue
		}
		r.contenders = append(r.contenders[:1:1], slices.DeleteFunc(r.contenders[1:], func(c contender) bool { return !rivals.MatchString(c.name) })...)
		if err := r.race(ctx, out, s, *rounds); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// rows are all there are, the boot path first.
func rows(s *stage) ([]row, error) {
	all, err := startRows(s)
	all = append(all, rolloverRows(s)...)
	all = append(all, pruneRows(s)...)
	all = append(all, entryRows(s)...)
	all = append(all, lossRows(s)...)
	return append(all, restoreRows(s)...), err
}
