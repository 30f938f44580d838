package main

import (
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Second:                       "0 ms",
		5230 * time.Microsecond:            "5.23 ms",
		1500 * time.Millisecond:            "1.5 s",
		59 * time.Second:                   "59 s",
		time.Minute:                        "1 minute",
		time.Hour + 59*time.Minute:         "1 hour",
		2 * time.Hour:                      "2 hours",
		day:                                "1 day",
		400 * day:                          "400 days",
		30*24*time.Hour + 23*time.Hour + 1: "30 days",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		at    time.Time
		want  string
		short string
	}{
		{time.Time{}, "", ""},
		{now.Add(time.Minute), "in the future", "future"},
		{now, "just now", "0 s"},
		{now.Add(-90 * time.Second), "1 minute ago", "1 min"},
		{now.Add(-5 * time.Hour), "5 hours ago", "5 h"},
		{now.AddDate(0, 0, -31), "31 days ago", "31 d"},
	} {
		if got := age(test.at, now); got != test.short {
			t.Errorf("age(%v) = %q, want %q", test.at, got, test.short)
		}
		if got := ago(test.at, now); got != test.want {
			t.Errorf("ago(%v) = %q, want %q", test.at, got, test.want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, test := range []struct {
		n    int
		noun string
		want string
	}{{0, "old root", "0 old roots"}, {1, "entry", "1 entry"}, {2, "entry", "2 entries"}, {2, "day", "2 days"}} {
		if got := count(test.n, test.noun); got != test.want {
			t.Errorf("count(%d, %q) = %q, want %q", test.n, test.noun, got, test.want)
		}
	}
}
