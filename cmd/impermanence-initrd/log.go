package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// logger writes messages as whoever reads them takes them.
type logger struct {
	w  io.Writer
	to reader
}

// reader is who reads what a logger writes.
type reader uint8

// The readers.
const (
	person    reader = iota
	journal          // takes each line for a message, with the priority from "<N>" at its beginning
	kernelLog        // takes each write for one, with its priority, and tells by the name before ":" whose it is
)

// readerOf finds out who reads standard error.
func readerOf(stderr *os.File) reader {
	if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", stderr.Fd())); err == nil && name == "/dev/kmsg" {
		return kernelLog
	}
	if os.Getenv("JOURNAL_STREAM") != "" {
		return journal
	}
	return person
}

func newLogger(w io.Writer, to reader) *logger { return &logger{w, to} }

func (l *logger) error(format string, args ...any)   { l.write(3, "error: ", format, args) }
func (l *logger) warning(format string, args ...any) { l.write(4, "warning: ", format, args) }
func (l *logger) info(format string, args ...any)    { l.write(6, "", format, args) }

func (l *logger) write(priority int, word, format string, args []any) {
	const name = "impermanence: "
	text, prefix := word+fmt.Sprintf(format, args...), name
	messages := []string{text}
	switch l.to {
	case person:
	case journal:
		messages, prefix = strings.Split(text, "\n"), fmt.Sprintf("<%d>", priority)
	case kernelLog:
		messages, prefix = split(text, longestRecord-len(name)), fmt.Sprintf("<%d>%s", priority, name)
	}
	for _, message := range messages {
		_, _ = io.WriteString(l.w, prefix+message+"\n")
	}
}

// longestRecord is how many bytes are written to the kernel's log at once: it refuses what has more than 976 to 1024 (LOG_LINE_MAX in
// kernel/printk/printk.c). Few and long ones: of many at a time it leaves out those after the tenth.
const longestRecord = 900

// split splits a text into parts of at most size bytes, between two lines where it can.
func split(text string, size int) []string {
	var parts []string
	for len(text) > size {
		end := strings.LastIndexByte(text[:size+1], '\n')
		if end <= 0 {
			end = size
		}
		parts, text = append(parts, text[:end]), strings.TrimPrefix(text[end:], "\n")
	}
	return append(parts, text)
}
