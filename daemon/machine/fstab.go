package machine

import (
	"regexp"
	"slices"
	"strings"
)

// FstabLine is one line of fstab(5). Fields are empty for a comment, an empty line, and what is not understood.
type FstabLine struct {
	Text    string // as it stands there, without the newline
	Spec    string // the device: UUID=…, a path, …
	Point   string
	Type    string
	Options []string
	Rest    string // dump and pass numbers, as they stand there
}

// Fstab is a file system table. What is not changed stays as it is, to the byte.
type Fstab []FstabLine

// ParseFstab reads a file system table.
func ParseFstab(text string) Fstab {
	var table Fstab
	for line := range strings.Lines(text) {
		table = append(table, parseFstabLine(strings.TrimSuffix(line, "\n")))
	}
	return table
}

func parseFstabLine(text string) FstabLine {
	line := FstabLine{Text: text}
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) < 3 || strings.HasPrefix(fields[0], "#") {
		return line
	}
	line.Spec, line.Point, line.Type = fstabUnescape(fields[0]), fstabUnescape(fields[1]), fields[2]
	line.Options = []string{"defaults"}
	if len(fields) > 3 {
		line.Options = strings.Split(fields[3], ",")
		line.Rest = strings.Join(fields[4:], " ")
	}
	return line
}

// NewFstabLine makes a line of its fields.
func NewFstabLine(spec, point, fsType string, options []string, rest string) FstabLine {
	line := FstabLine{Spec: spec, Point: point, Type: fsType, Options: options, Rest: rest}
	fields := []string{fstabEscape(spec), fstabEscape(point), fsType, strings.Join(options, ","), rest}
	line.Text = strings.TrimRight(strings.Join(fields, " "), " ")
	return line
}

// WithOptions is the same line with other options, and its columns as they were where possible.
func (l FstabLine) WithOptions(options []string) FstabLine {
	at := fstabOptions.FindStringSubmatchIndex(l.Text)
	if at == nil {
		return NewFstabLine(l.Spec, l.Point, l.Type, options, l.Rest)
	}
	l.Text = l.Text[:at[2]] + strings.Join(options, ",") + l.Text[at[3]:]
	l.Options = options
	return l
}

// fstabOptions matches a line up to its fourth field.
var fstabOptions = regexp.MustCompile(`^[ \t]*[^ \t]+[ \t]+[^ \t]+[ \t]+[^ \t]+[ \t]+([^ \t]+)`)

// Option gives the value of an option, as in subvol=root; found is true for one without a value too.
func (l FstabLine) Option(name string) (value string, found bool) {
	for _, option := range l.Options {
		key, value, _ := strings.Cut(option, "=")
		if key == name {
			return value, true
		}
	}
	return "", false
}

// At finds the line of a mount point, the last when there are several.
func (t Fstab) At(point string) (FstabLine, bool) {
	for _, line := range slices.Backward(t) {
		if line.Point != "" && strings.TrimSuffix(line.Point, "/") == strings.TrimSuffix(point, "/") {
			return line, true
		}
	}
	return FstabLine{}, false
}

// String is the table as it stands in its file.
func (t Fstab) String() string {
	var b strings.Builder
	for _, line := range t {
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

// fstabEscapes are the characters that fields have as octal escapes.
var fstabEscapes = []string{" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`}

func fstabEscape(s string) string { return strings.NewReplacer(fstabEscapes...).Replace(s) }

func fstabUnescape(s string) string {
	reversed := slices.Clone(fstabEscapes)
	slices.Reverse(reversed)
	return strings.NewReplacer(reversed...).Replace(s)
}
