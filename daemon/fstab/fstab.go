package fstab

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// Line is one line. Its fields are without escapes; they are empty for a comment, an empty line, and what is not understood.
type Line struct {
	Text    string // as it stands there, without the newline
	Spec    string // the device: UUID=…, a path, …
	Point   string
	Type    string
	Options []string
	Rest    string // dump and pass numbers, as they stand there
}

// Table is a file system table. What is not changed stays as it is, to the byte.
type Table []Line

// Parse reads a file system table.
func Parse(text string) Table {
	var table Table
	for line := range strings.Lines(text) {
		table = append(table, parseLine(strings.TrimSuffix(line, "\n")))
	}
	return table
}

func parseLine(text string) Line {
	line := Line{Text: text}
	var fields []string
	for _, at := range spans(text) {
		fields = append(fields, text[at.begin:at.end])
	}
	if len(fields) < 3 || strings.HasPrefix(fields[0], "#") {
		return line
	}
	line.Spec, line.Point, line.Type = unescape(fields[0]), unescape(fields[1]), unescape(fields[2])
	line.Options = []string{"defaults"}
	if len(fields) > 3 {
		line.Options = strings.Split(unescape(fields[3]), ",")
		line.Rest = strings.Join(fields[4:], " ")
	}
	return line
}

// span is where a field stands in a line, in bytes.
type span struct{ begin, end int }

// spans finds the fields of a line. Blanks and tabs part them, and nothing else that is white space elsewhere.
func spans(text string) []span {
	var found []span
	text = strings.TrimSuffix(text, "\r")
	for begin := 0; begin < len(text); {
		length := strings.IndexAny(text[begin:], " \t")
		if length < 0 {
			length = len(text) - begin
		}
		if length > 0 {
			found = append(found, span{begin, begin + length})
		}
		begin += length + 1
	}
	return found
}

// NewLine makes a line of its fields.
func NewLine(spec, point, fsType string, options []string, rest string) Line {
	line := Line{Spec: spec, Point: point, Type: fsType, Options: options, Rest: rest}
	fields := []string{escape(spec), escape(point), escape(fsType), escape(strings.Join(options, ",")), rest}
	line.Text = strings.TrimRight(strings.Join(fields, " "), " ")
	return line
}

// WithOptions is the same line with other options, and its columns as they were where possible.
func (l Line) WithOptions(options []string) Line {
	fields := spans(l.Text)
	if len(fields) < 4 {
		return NewLine(l.Spec, l.Point, l.Type, options, l.Rest)
	}
	at := fields[3]
	l.Text = l.Text[:at.begin] + escape(strings.Join(options, ",")) + l.Text[at.end:]
	l.Options = options
	return l
}

// Option gives the value of an option, as in subvol=root; found is true for one without a value too.
func (l Line) Option(name string) (value string, found bool) {
	for _, option := range l.Options {
		key, value, _ := strings.Cut(option, "=")
		if key == name {
			return value, true
		}
	}
	return "", false
}

// SwapFile tells whether the line has a file as swap, and no device.
func (l Line) SwapFile() bool {
	return l.Type == "swap" && strings.HasPrefix(l.Spec, "/") && !strings.HasPrefix(l.Spec, "/dev/")
}

// AccessTimes gives the option by which the line asks that reading writes access times, if one does.
func (l Line) AccessTimes() (option string, found bool) {
	for _, option := range []string{"relatime", "strictatime", "atime"} {
		if _, found := l.Option(option); found {
			return option, true
		}
	}
	return "", false
}

// At finds the line of a mount point, the last when there are several.
func (t Table) At(point string) (Line, bool) {
	for _, line := range slices.Backward(t) {
		if line.Point != "" && path.Clean(line.Point) == path.Clean(point) {
			return line, true
		}
	}
	return Line{}, false
}

// String is the table as it stands in its file.
func (t Table) String() string {
	var b strings.Builder
	for _, line := range t {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

// escape writes the characters that would end a field as octal escapes.
func escape(s string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, "\r", `\015`, `\`, `\134`).Replace(s)
}

// unescape undoes octal escapes.
func unescape(s string) string {
	const length = len(`\040`)
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+length <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+length], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += length - 1
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
