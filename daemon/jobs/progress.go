package jobs

// Progress is how a running job says how far it is. Its methods may be called from several goroutines, and do nothing
// that blocks.
type Progress struct {
	engine *Engine
	job    *job
}

// Stage says what the job is doing, for people.
func (p *Progress) Stage(stage string) {
	p.engine.change(p.job, func(j *Job) { j.Stage = stage })
}

// Items says how many of the job's items are done, and with that how far it is. part is how much of the item under way
// is done, from 0 to 1.
func (p *Progress) Items(done, total uint64, part float64) {
	p.engine.change(p.job, func(j *Job) {
		j.ItemsDone, j.ItemsTotal = max(j.ItemsDone, done), max(j.ItemsTotal, total)
		if total == 0 {
			return
		}
		j.ProgressValid = true
		j.Progress = min(1, max(j.Progress, (float64(done)+part)/float64(j.ItemsTotal)))
	})
}

// Detail adds a named value to what the job shows.
func (p *Progress) Detail(name string, value any) {
	p.engine.change(p.job, func(j *Job) {
		if j.Details == nil {
			j.Details = map[string]any{}
		}
		j.Details[name] = value
	})
}

// Job returns the number of the job.
func (p *Progress) Job() uint64 { return p.job.ID }
