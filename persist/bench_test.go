package persist

import (
	"fmt"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// BenchmarkApply puts directories and files in place on a fresh root. Sources exist, as on every boot but the first.
func BenchmarkApply(b *testing.B) {
	for _, kind := range []Kind{Directory, File} {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s=%d", map[Kind]string{Directory: "dirs", File: "files"}[kind], n), func(b *testing.B) { benchApply(b, benchEntries(kind, n)) })
		}
	}
}

func benchApply(b *testing.B, entries []Entry) {
	b.Helper()
	m := newMachine(b)
	for _, e := range entries {
		if e.Kind == File {
			m.write(e.Source, "x")
		}
	}
	m.apply(entries...)
	for b.Loop() {
		b.StopTimer()
		for _, e := range entries {
			btrfstest.Unmount(b, m.path(e.Target))
		}
		btrfstest.Run(b, "rm", "-r", m.path("/srv"))
		b.StartTimer()
		m.apply(entries...)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(entries)), "µs/entry")
}

func benchEntries(kind Kind, n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = dirEntry(fmt.Sprintf("/srv/%02d/%04d", i/50, i))
		entries[i].Kind, entries[i].Hide = kind, true
	}
	return entries
}

// BenchmarkApplyAgain applies when everything is in place already.
func BenchmarkApplyAgain(b *testing.B) {
	m := newMachine(b)
	entries := benchEntries(Directory, 1000)
	m.apply(entries...)
	for b.Loop() {
		m.apply(entries...)
	}
}

// BenchmarkRestore brings a tree of many small files back.
func BenchmarkRestore(b *testing.B) {
	const files = 10_000
	m, old := newRestorable(b, func(m *machine) {
		for i := range files {
			m.write(fmt.Sprintf("/srv/%02d/%03d/%d", i%20, i%400, i), "a small file of a few bytes, as most are")
		}
	})
	n := 0
	for b.Loop() {
		n++
		target := fmt.Sprintf("/copy/%d", n)
		if got := m.restoreAs(Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/srv", target}}}); len(got) != 1 {
			b.Fatal(got)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*files), "µs/file")
}
