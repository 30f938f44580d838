package machine

import "strings"

// Cmdline is what a kernel command line says of the root.
type Cmdline struct {
	Root     string // root=
	Subvol   string // subvol= of rootflags=, without a slash at its beginning; "": none
	SubvolID string // subvolid= of rootflags=
	Resume   string // resume=
}

// ParseCmdline reads a kernel command line. Of what is repeated the last counts, except that rootflags= add up, as systemd and
// the initrd tools have it.
func ParseCmdline(line string) Cmdline {
	var c Cmdline
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(strings.Trim(word, `"'`), "=")
		switch key {
		case "root":
			c.Root = value
		case "resume":
			c.Resume = value
		case "rootflags":
			for option := range strings.SplitSeq(value, ",") {
				name, text, _ := strings.Cut(option, "=")
				switch name {
				case "subvol":
					c.Subvol = strings.TrimPrefix(text, "/")
				case "subvolid":
					c.SubvolID = text
				}
			}
		}
	}
	return c
}

// Boots tells whether the line mounts the root by the path of a subvolume, so that a fresh one that took its place is
// mounted.
func (c Cmdline) Boots(subvolume string) bool { return c.Subvol == subvolume && c.SubvolID == "" }

// WithSubvolume is the line, changed as little as possible, so that it boots a subvolume by its path.
func WithSubvolume(line, subvolume string) string {
	if ParseCmdline(line).Boots(subvolume) {
		return line
	}
	words := strings.Fields(line)
	at := -1
	var kept []string
	for i, word := range words {
		flags, found := strings.CutPrefix(word, "rootflags=")
		if !found {
			continue
		}
		at = i
		words[i] = ""
		for option := range strings.SplitSeq(flags, ",") {
			name, _, _ := strings.Cut(option, "=")
			if option != "" && name != "subvol" && name != "subvolid" {
				kept = append(kept, option)
			}
		}
	}
	flags := "rootflags=" + strings.Join(append(kept, "subvol="+subvolume), ",")
	if at < 0 {
		return strings.TrimSpace(strings.Join(append(words, flags), " "))
	}
	words[at] = flags
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}
