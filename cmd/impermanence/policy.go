package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/dbus"
)

// policyFlags are the options that replace a rule of the retention policy, in the order of a policy's rules.
type policyFlags struct {
	within, minFree                            string
	last, hourly, daily, weekly, monthly, year uint32
	labels                                     []string
}

func (p *policyFlags) add(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVar(&p.within, "keep-within", "", "keep what is younger than `DURATION` counted from the newest: 36h, 30d, 6w, 1y2m")
	flags.Uint32Var(&p.last, "keep-last", 0, "keep the newest `N`")
	flags.Uint32Var(&p.hourly, "keep-hourly", 0, "keep the newest of each of the last `N` hours that have one")
	flags.Uint32Var(&p.daily, "keep-daily", 0, "the same for the last `N` days")
	flags.Uint32Var(&p.weekly, "keep-weekly", 0, "the same for the last `N` weeks")
	flags.Uint32Var(&p.monthly, "keep-monthly", 0, "the same for the last `N` months")
	flags.Uint32Var(&p.year, "keep-yearly", 0, "the same for the last `N` years")
	flags.StringArrayVar(&p.labels, "keep-label", nil, "keep what has this `LABEL`; may be given several times")
	flags.StringVar(&p.minFree, "min-free", "", "let the oldest go too while less than `SIZE` is free: 10%, 5GiB")
}

// options returns the rules that were given on the command line.
func (p *policyFlags) options(cmd *cobra.Command) (dbus.PruneOptions, error) {
	given := func(name string, n *uint32) *uint32 {
		if cmd.Flags().Changed(name) {
			return n
		}
		return nil
	}
	options := dbus.PruneOptions{
		KeepLast:    given("keep-last", &p.last),
		KeepHourly:  given("keep-hourly", &p.hourly),
		KeepDaily:   given("keep-daily", &p.daily),
		KeepWeekly:  given("keep-weekly", &p.weekly),
		KeepMonthly: given("keep-monthly", &p.monthly),
		KeepYearly:  given("keep-yearly", &p.year),
		KeepLabels:  p.labels,
	}
	if cmd.Flags().Changed("min-free") {
		free, err := config.ParseMinFree(p.minFree)
		if err != nil {
			return options, &usageError{fmt.Errorf("--min-free: %w", err), cmd.CommandPath() + " --min-free 10%"}
		}
		options.MinFree = (*dbus.MinFree)(&free)
	}
	if cmd.Flags().Changed("keep-within") {
		within, err := parseDuration(p.within)
		if err != nil {
			return options, &usageError{fmt.Errorf("--keep-within: %w", err), cmd.CommandPath() + " --keep-within 30d"}
		}
		options.KeepWithin = &within
	}
	return options, nil
}

// units are those of a duration in the configuration, in hours; a month has 30 days and a year 365.
const (
	hoursOfDay   = 24
	hoursOfWeek  = 7 * hoursOfDay
	hoursOfMonth = 30 * hoursOfDay
	hoursOfYear  = 365 * hoursOfDay
)

// parseDuration reads a duration as the configuration has it, such as 30d, 6w, 36h or 1y2m.
func parseDuration(s string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a duration such as 36h, 30d, 6w or 1y2m", s)
	var hours uint64
	for rest := s; rest != "" || s == ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) {
			return 0, wrong
		}
		n, err := strconv.ParseUint(rest[:digits], 10, 32)
		if err != nil {
			return 0, wrong
		}
		unit, ok := map[byte]uint64{'h': 1, 'd': hoursOfDay, 'w': hoursOfWeek, 'm': hoursOfMonth, 'y': hoursOfYear}[rest[digits]]
		if !ok {
			return 0, wrong
		}
		hours += n * unit
		rest = rest[digits+1:]
	}
	if hours > math.MaxInt64/uint64(time.Hour) {
		return 0, fmt.Errorf("%q is longer than 292 years", s)
	}
	return time.Duration(hours) * time.Hour, nil
}
