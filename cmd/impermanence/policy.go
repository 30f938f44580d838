package main

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/dbus"
)

// addPolicy adds the options that replace a rule of the retention policy, in the order of a policy's rules.
func addPolicy(flags *pflag.FlagSet, o *dbus.PruneOptions) {
	flags.SortFlags = false
	flags.Var(given[time.Duration]{&o.KeepWithin, config.ParseDuration, "30d"}, "keep-within", "keep what is younger than `DURATION` counted from the newest: 36h, 30d, 6w, 1y2m")
	for _, rule := range []struct {
		to          **uint32
		name, usage string
	}{
		{&o.KeepLast, "keep-last", "keep the newest `N`"},
		{&o.KeepHourly, "keep-hourly", "keep the newest of each of the last `N` hours that have one"},
		{&o.KeepDaily, "keep-daily", "the same for the last `N` days"},
		{&o.KeepWeekly, "keep-weekly", "the same for the last `N` weeks"},
		{&o.KeepMonthly, "keep-monthly", "the same for the last `N` months"},
		{&o.KeepYearly, "keep-yearly", "the same for the last `N` years"},
	} {
		flags.Var(given[uint32]{rule.to, parseNumber, "3"}, rule.name, rule.usage)
	}
	flags.StringArrayVar(&o.KeepLabels, "keep-label", nil, "keep what has this `LABEL`; may be given several times")
	flags.Var(given[dbus.MinFree]{&o.MinFree, parseMinFree, "10%"}, "min-free", "let the oldest go too while less than `SIZE` is free: 10%, 5GiB")
}

// parseNumber reads a whole number in decimal.
func parseNumber(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number from 0 to %d", text, uint32(math.MaxUint32))
	}
	return uint32(n), nil
}

func parseMinFree(text string) (dbus.MinFree, error) {
	free, err := config.ParseMinFree(text)
	return dbus.MinFree(free), err
}
