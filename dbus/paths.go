package dbus

import (
	"fmt"
	"strconv"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// ObjectPath is the path of an object on the bus.
type ObjectPath = godbus.ObjectPath

// Where the objects are.
const (
	ManagerPath ObjectPath = "/org/impermanence1"
	// NoPath stands for "no object": a path can't be empty on the bus.
	NoPath ObjectPath = "/"

	rootPrefix  = string(ManagerPath) + "/root/"
	entryPrefix = string(ManagerPath) + "/entry/"
	jobPrefix   = string(ManagerPath) + "/job/"

	logControlPath ObjectPath = "/org/freedesktop/LogControl1"
)

// RootPath is the path of the root with this subvolume id; [NoPath] for 0.
func RootPath(id uint64) ObjectPath { return numberedPath(rootPrefix, id) }

// JobPath is the path of the job with this number; [NoPath] for 0.
func JobPath(id uint64) ObjectPath { return numberedPath(jobPrefix, id) }

// EntryPath is the path of the entry with this target, escaped as systemd escapes
// bus paths: every byte that is not a letter or a digit becomes "_" and two
// hexadecimal digits, as does a digit at the start; an empty string becomes "_".
func EntryPath(target string) ObjectPath {
	return ObjectPath(entryPrefix + escapeLabel(target))
}

// ParseRootPath is the inverse of [RootPath].
func ParseRootPath(p ObjectPath) (uint64, error) {
	return parseNumberedPath(rootPrefix, p, ErrNoSuchRoot)
}

// ParseJobPath is the inverse of [JobPath].
func ParseJobPath(p ObjectPath) (uint64, error) {
	return parseNumberedPath(jobPrefix, p, ErrNoSuchJob)
}

// ParseEntryPath is the inverse of [EntryPath].
func ParseEntryPath(p ObjectPath) (string, error) {
	label, ok := strings.CutPrefix(string(p), entryPrefix)
	if !ok {
		return "", fmt.Errorf("path %q: %w", p, ErrNoSuchEntry)
	}
	target, ok := unescapeLabel(label)
	if !ok {
		return "", fmt.Errorf("path %q: %w", p, ErrNoSuchEntry)
	}
	return target, nil
}

func numberedPath(prefix string, id uint64) ObjectPath {
	if id == 0 {
		return NoPath
	}
	return ObjectPath(prefix + strconv.FormatUint(id, 10))
}

// parseNumberedPath takes only the one way that numberedPath writes a number, so
// that an object has one path.
func parseNumberedPath(prefix string, p ObjectPath, unknown error) (uint64, error) {
	digits, ok := strings.CutPrefix(string(p), prefix)
	if !ok {
		return 0, fmt.Errorf("path %q: %w", p, unknown)
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || id == 0 || strconv.FormatUint(id, 10) != digits {
		return 0, fmt.Errorf("path %q: %w", p, unknown)
	}
	return id, nil
}

const hexDigits = "0123456789abcdef"

func escapeLabel(s string) string {
	if s == "" {
		return "_"
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isLetter(c) || (isDigit(c) && i > 0) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('_')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

// unescapeLabel accepts only what escapeLabel writes.
func unescapeLabel(label string) (string, bool) {
	if label == "_" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(label); i++ {
		if label[i] != '_' {
			b.WriteByte(label[i])
			continue
		}
		if i+2 >= len(label) {
			return "", false
		}
		c, err := strconv.ParseUint(label[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), label != "" && escapeLabel(b.String()) == label
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
