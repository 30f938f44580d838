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

// Writer is a process that has a file open for writing.
type Writer struct {
	PID     int
	Command string
	File    string
}

// String names the process and the file.
func (w Writer) String() string { return fmt.Sprintf("%s (%s[%d])", w.File, w.Command, w.PID) }

// writersBelow finds the processes that have a path, or something below it, open for writing (proc_pid_fd(5)).
func writersBelow(p string) ([]Writer, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var writers []Writer
	for _, process := range processes {
		descriptors, err := os.ReadDir(process + "/fd")
		if err != nil {
			continue // ended in between
		}
		for _, d := range descriptors {
			file, err := os.Readlink(process + "/fd/" + d.Name())
			if err != nil || file != p && !below(file, p) || !writable(process+"/fdinfo/"+d.Name()) {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(process))
			command, _ := os.ReadFile(process + "/comm")
			writers = append(writers, Writer{PID: pid, Command: string(bytes.TrimSpace(command)), File: strings.TrimSuffix(file, " (deleted)")})
		}
	}
	return writers, nil
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
