package jobs

import "testing"

// The one that began last is not always the last to be written down.
func TestTheJournalCountsToTheHighest(t *testing.T) {
	j := &journal{dir: t.TempDir(), log: silence{}}
	for _, id := range []uint64{2, 1} {
		j.begin(Job{ID: id})
		j.end(id)
	}
	if next, _ := j.load(); next != 3 {
		t.Errorf("the next job is %d", next)
	}
}
