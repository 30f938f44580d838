package persist

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Writer is a process whose work would go to what is hidden once something else is put over it.
type Writer struct {
	PID     int
	Command string
	File    string // what it uses
	Use     Use
}

// Use is what a process does with something. After a mount over it, a writer's data and what is made in a directory that is held
// this way land below the mount, where nobody sees them and the next boot drops them.
type Use uint8

// The uses.
const (
	Writes       Use = iota // a file, opened for writing
	Maps                    // a file, mapped shared and writable; its descriptor may be closed
	WorksIn                 // its working directory
	RootedIn                // its root directory
	HasDirectory            // a directory that it has open
)

// String names the process and what it uses.
func (w Writer) String() string {
	process := fmt.Sprintf("%s[%d]", w.Command, w.PID)
	switch w.Use {
	case Maps:
		process = "mapped by " + process
	case WorksIn:
		process = "working directory of " + process
	case RootedIn:
		process = "root directory of " + process
	case HasDirectory:
		process = "opened by " + process
	case Writes:
	}
	return fmt.Sprintf("%s (%s)", w.File, process)
}

// writersBelow finds the processes that use a path, or something below it: see Use.
func writersBelow(p string) ([]Writer, error) {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(p)); err == nil {
		p = filepath.Join(dir, filepath.Base(p)) // as the kernel names it
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var writers []Writer
	for _, process := range processes {
		pid, _ := strconv.Atoi(filepath.Base(process))
		known := map[Writer]bool{}
		add := func(file string, use Use) {
			w := Writer{PID: pid, File: strings.TrimSuffix(file, " (deleted)"), Use: use}
			own := pid == os.Getpid() && use == HasDirectory // for what is done here
			if known[w] || own || !Within(file, p) {
				return
			}
			known[w] = true
			command, _ := os.ReadFile(process + "/comm")
			w.Command = string(bytes.TrimSpace(command))
			writers = append(writers, w)
		}
		for name, use := range map[string]Use{"/cwd": WorksIn, "/root": RootedIn} {
			if dir, err := os.Readlink(process + name); err == nil {
				add(dir, use)
			}
		}
		eachDescriptor(process, p, add)
		eachMapping(process, add)
	}
	return writers, nil
}

// eachDescriptor tells of the files at or below p that a process can write to, and of directories (proc_pid_fd(5)).
func eachDescriptor(process, p string, add func(file string, use Use)) {
	descriptors, err := os.ReadDir(process + "/fd")
	if err != nil {
		return // ended in between
	}
	for _, d := range descriptors {
		file, err := os.Readlink(process + "/fd/" + d.Name())
		if err != nil || !Within(file, p) {
			continue
		}
		if info, err := os.Stat(process + "/fd/" + d.Name()); err == nil && info.IsDir() {
			add(file, HasDirectory)
		} else if writable(process + "/fdinfo/" + d.Name()) {
			add(file, Writes)
		}
	}
}

// eachMapping tells of the files that a process has mapped shared and writable (proc_pid_maps(5)).
func eachMapping(process string, add func(file string, use Use)) {
	data, err := os.ReadFile(process + "/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		const fields = 6 // range, permissions, offset, device, inode, file
		field := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", fields)
		if len(field) == fields && strings.Contains(field[1], "w") && strings.Contains(field[1], "s") {
			add(strings.ReplaceAll(strings.TrimLeft(field[5], " "), `\012`, "\n"), Maps)
		}
	}
}

// writable tells from a descriptor's flags whether it was opened for writing (proc_pid_fdinfo(5)).
func writable(info string) bool {
	data, err := os.ReadFile(info)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(text), 8, 64)
			return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY && flags&unix.O_PATH == 0
		}
	}
	return false
}
