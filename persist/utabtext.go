package persist

import (
	"fmt"
	"strconv"
	"strings"
)

// mangle writes blanks and backslashes in octal, as libmount and mountinfo do.
func mangle(s string) string {
	if !strings.ContainsAny(s, "\\ \t\n") {
		return s
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte("\\ \t\n", c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unmangle reads what mangle wrote.
func unmangle(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// linesByTarget takes libmount's table apart.
func linesByTarget(table []byte) map[string]string {
	lines := map[string]string{}
	for line := range strings.Lines(string(table)) {
		line = strings.TrimSuffix(line, "\n")
		lines[field(line, "TARGET=")] = line
	}
	return lines
}

// field gives the value of a variable in a line of the table.
func field(line, name string) string {
	for part := range strings.SplitSeq(line, " ") {
		if value, ok := strings.CutPrefix(part, name); ok {
			return unmangle(value)
		}
	}
	return ""
}

// parseMounts reads the kernel's table (proc_pid_mountinfo(5)).
func parseMounts(data []byte) map[uint64]mountSource {
	mounts := map[uint64]mountSource{}
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 2 {
			continue
		}
		if id, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
			mounts[id] = mountSource{device: unmangle(rest[1]), root: unmangle(fields[3]), point: unmangle(fields[4])}
		}
	}
	return mounts
}
