package main

import "strings"

// cmdline is what the kernel command line says that matters here. The last of a repeated parameter counts, as for the
// kernel.
type cmdline struct {
	off, keep    bool   // impermanence=off, impermanence=keep
	oldRoot      string // impermanence.root=
	root         string // root=
	rootflags    string // rootflags=
	resume       string // resume=
	resumeOffset string // resume_offset=, in pages
	noResume     bool   // noresume
	fstab        bool   // fstab= or rd.fstab=, whatever it says
}

// parseCmdline reads a kernel command line. What it doesn't know it leaves alone.
func parseCmdline(line string) cmdline {
	var c cmdline
	for _, parameter := range splitCmdline(line) {
		key, value, _ := strings.Cut(parameter, "=")
		switch strings.ReplaceAll(key, "-", "_") { // the kernel takes either
		case "impermanence":
			c.off, c.keep = value == "off", value == "keep"
		case "impermanence.root":
			c.oldRoot = value
		case "root":
			c.root = value
		case "rootflags":
			c.rootflags = value
		case "resume":
			c.resume = value
		case "resume_offset":
			c.resumeOffset = value
		case "noresume":
			c.noResume = true
		case "fstab", "rd.fstab":
			c.fstab = true
		}
	}
	return c
}

// splitCmdline splits at white space outside double quotes, and takes the quotes away, as the kernel's next_arg() does.
func splitCmdline(line string) []string {
	var parameters []string
	var current strings.Builder
	quoted, started := false, false
	flush := func() {
		if started {
			parameters = append(parameters, current.String())
		}
		current.Reset()
		started = false
	}
	for _, c := range []byte(line) {
		switch {
		case c == '"':
			quoted, started = !quoted, true
		case !quoted && (c == ' ' || c == '\t' || c == '\n'):
			flush()
		default:
			started = true
			current.WriteByte(c)
		}
	}
	flush()
	return parameters
}
