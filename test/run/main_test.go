package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRead feeds it what go test tells of packages that pass, fail, skip, and do not build.
func TestRead(t *testing.T) {
	const ok = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	tests := []struct {
		name, in, out string
		ok            bool
	}{
		{"passes", ok, "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n", true},
		{"nothing ran", ``, "0 passed, 0 failed, 0 skipped\n", false},
		{
			"skips", ok + `{"Action":"skip","Package":"q","Test":"TestB"}`,
			"ok  \tp\t0.1s\nSKIPPED (a skipped test fails the run): q TestB\n1 passed, 0 failed, 1 skipped\n", false,
		},
		{"no test files", ok + `{"Action":"skip","Package":"q"}`, "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n", true},
		{
			"fails", ok + `{"Action":"output","Package":"q","Test":"TestB","Output":"    x_test.go:1: why\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Output":"FAIL\n"}
{"Action":"fail","Package":"q"}`,
			"ok  \tp\t0.1s\n    x_test.go:1: why\nFAIL\n1 passed, 1 failed, 0 skipped\n", false,
		},
		{
			"is not built", ok + `{"ImportPath":"q","Action":"build-output","Output":"q.go:1: what\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"fail","Package":"q","FailedBuild":"q"}`,
			"ok  \tp\t0.1s\nq.go:1: what\n1 passed, 1 failed, 0 skipped\n", false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			if got := read(&out, strings.NewReader(test.in)); got != test.ok {
				t.Errorf("ok = %v, want %v", got, test.ok)
			}
			if diff := cmp.Diff(test.out, out.String()); diff != "" {
				t.Errorf("what it prints (-want +got):\n%s", diff)
			}
		})
	}
}
