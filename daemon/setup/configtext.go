package setup

import (
	"fmt"
	"strings"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// isRoot tells whether a configured mount point is the root.
func isRoot(e config.Ephemeral) bool { return e.MountPoint == "/" }

// config writes the configuration. What stands in the file so far is kept above it: it says nothing about the root, or the
// machine would be set up already.
func (p *planner) config() (string, error) {
	var b strings.Builder
	if former := strings.TrimRight(p.Files[configFile], "\n"); former != "" {
		b.WriteString(former + "\n\n")
	}
	l := p.record.Layout
	fmt.Fprintf(&b, `# Written by impermanence setup, and yours to change: see impermanence.toml(5). After a change build the initrd again, which has a copy of it,
# and then commit it to the template, which fresh roots are made from: impermanence template commit.

[ephemeral."/"]
device = %q
subvolume = %q
oldRoots = %q
template = %q

[retention]
keepWithin = "30d"
keepLast = 3
minFree = "10%%"

[persistence.%q]
hideMounts = true
`, "UUID="+p.UUID, l.Root, l.OldRoots, l.Template, p.Point())
	names, entries := p.choice(p.Options.Presets)
	writeList(&b, "presets", names)
	for i := range entries { // presets are read as if the volume was in its usual place
		entries[i].Volume, entries[i].Source = p.Point(), p.Point()+entries[i].Target
	}
	for _, dir := range p.Data {
		entries = append(entries, persist.Entry{Target: dir, Source: p.Point() + dir, Volume: p.Point(), Hide: true})
	}
	text, err := config.FormatEntries(persist.Volume{Path: p.Point(), HideMounts: true}, entries)
	if err != nil {
		return "", err
	}
	b.Write(text)
	return b.String(), nil
}

// writeList writes a list of text, one item a line.
func writeList(b *strings.Builder, key string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "%s = [\n", key)
	for _, item := range items {
		fmt.Fprintf(b, "  %q,\n", item)
	}
	b.WriteString("]\n")
}
