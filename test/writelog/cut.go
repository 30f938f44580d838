package writelog

import (
	"fmt"
	"math/rand/v2"
	"os"
)

// Cut is what of a log reached the disk before the power went.
type Cut struct {
	What   string // for messages
	Writes []Entry
}

// Cuts returns a cut after every request, and, for each stretch between two flushes, samples of what a disk with a cache
// may do with it: any of its writes lost, the others in any order, one torn between sectors.
func (l Log) Cuts(samples int, random *rand.Rand) []Cut {
	var cuts []Cut
	var done []Entry // reached the disk for sure
	var open []Entry // written since the last flush
	sample := func() {
		for i := range samples {
			if len(open) > 1 {
				what := fmt.Sprintf("%d writes flushed, sample %d of the %d after", len(done), i, len(open))
				cuts = append(cuts, Cut{what, append(clip(done), lose(open, random)...)})
			}
		}
	}
	cuts = append(cuts, Cut{"before the first write", nil})
	for i, e := range l {
		if e.Done {
			continue
		}
		if e.Flush {
			sample()
			done, open = append(clip(done), open...), nil
			continue
		}
		open = append(open, e)
		cuts = append(cuts, Cut{fmt.Sprintf("after request %d of %d", i+1, len(l)), append(clip(done), open...)})
	}
	sample()
	return cuts
}

// Random returns a cut after a random request. Of what was written since the flush before it the disk may have done anything, as in the
// samples of Cuts. For logs that are too long for all of their cuts.
func (l Log) Random(random *rand.Rand) Cut {
	var done, open []Entry
	at := random.IntN(len(l) + 1)
	for _, e := range l[:at] {
		switch {
		case e.Flush:
			done, open = append(done, open...), nil
		case !e.Done:
			open = append(open, e)
		}
	}
	return Cut{fmt.Sprintf("at request %d of %d, %d after a flush", at, len(l), len(open)), append(clip(done), lose(open, random)...)}
}

// Durable returns the cut at the moment at which the work said that it was done: with what had been flushed, no more.
func (l Log) Durable() Cut {
	var done, open []Entry
	for _, e := range l {
		switch {
		case e.Done:
			return Cut{"when the work was done", done}
		case e.Flush:
			done, open = append(done, open...), nil
		default:
			open = append(open, e)
		}
	}
	return Cut{"the work was never done", nil}
}

// clip makes appending copy.
func clip(e []Entry) []Entry { return e[:len(e):len(e)] }

// sectorSize is what the disk is taken to write whole or not at all. btrfs needs no less: it mounts from the first of its
// superblocks, which has 4 KiB, and gives up when that one is torn.
const sectorSize = 4096

// lose drops, shuffles and tears writes.
func lose(writes []Entry, random *rand.Rand) []Entry {
	var kept []Entry
	for _, w := range writes {
		if random.IntN(2) == 0 {
			kept = append(kept, w)
		}
	}
	random.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
	if n := len(kept); n > 0 && len(kept[n-1].Data) > sectorSize {
		last := kept[n-1]
		last.Data = last.Data[:sectorSize*random.IntN(len(last.Data)/sectorSize)]
		kept[n-1] = last
	}
	return kept
}

// Apply writes a cut's writes to an image.
func (c Cut) Apply(image string) error {
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, w := range c.Writes {
		if _, err := file.WriteAt(w.Data, w.Offset); err != nil {
			_ = file.Close()
			return err
		}
	}
	return file.Close()
}
