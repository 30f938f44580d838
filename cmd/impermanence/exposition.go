package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// exposition writes metrics in the text format of Prometheus, version 0.0.4:
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
//
// It is all that is needed of it: the library for it brings protocol buffers along.
type exposition struct{ w io.Writer }

// sample is one value of a metric.
type sample struct {
	labels labels
	value  float64
}

// labels are names and values, in the order in which they are written.
type labels [][2]string

// gauge writes a metric whose value can go up and down.
func (e exposition) gauge(name, help string, samples ...sample) {
	fmt.Fprintf(e.w, "# HELP %s %s\n# TYPE %s gauge\n", name, strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help), name)
	for _, s := range samples {
		fmt.Fprintf(e.w, "%s%s %s\n", name, s.labels, strconv.FormatFloat(s.value, 'g', -1, 64))
	}
}

// oneOf writes a metric that is 1 for one of the values that a label can have, and 0 for the others.
func (e exposition) oneOf(name, help, label, is string, values ...string) {
	samples := make([]sample, len(values))
	for i, v := range values {
		samples[i] = sample{labels{{label, v}}, truth(v == is)}
	}
	e.gauge(name, help, samples...)
}

// String is labels as they stand behind a name.
func (l labels) String() string {
	if len(l) == 0 {
		return ""
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	pairs := make([]string, len(l))
	for i, pair := range l {
		pairs[i] = pair[0] + `="` + escape.Replace(strings.ToValidUTF8(pair[1], "\ufffd")) + `"`
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds are those since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
