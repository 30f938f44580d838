package writelog_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/writelog"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

func TestTheLastCutIsTheWholeImage(t *testing.T) {
	image := btrfstest.NewImage(t, 128<<20)
	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	log := writelog.Record(t, image, func(device string, done func()) {
		dir := t.TempDir()
		btrfstest.Mount(t, device, dir, "")
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
		btrfstest.Run(t, "umount", dir)
		done()
	})
	cuts := log.Cuts(1, rand.New(rand.NewPCG(1, 1)))
	var flushes int
	for _, e := range log {
		if e.Flush {
			flushes++
		}
	}
	if flushes < 2 || len(cuts) < len(log)-flushes {
		t.Fatalf("%d requests, %d flushes, %d cuts", len(log), flushes, len(cuts))
	}
	replayed := filepath.Join(t.TempDir(), "replayed")
	if err := os.WriteFile(replayed, before, 0o600); err != nil {
		t.Fatal(err)
	}
	whole := writelog.Cut{}
	for _, e := range log {
		if !e.Flush && !e.Done {
			whole.Writes = append(whole.Writes, e)
		}
	}
	if got := log.Durable(); len(got.Writes) != len(whole.Writes) {
		t.Errorf("after the unmount %d of %d writes are durable", len(got.Writes), len(whole.Writes))
	}
	if err := whole.Apply(replayed); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(replayed)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("replaying the whole log does not give the image")
	}
}
