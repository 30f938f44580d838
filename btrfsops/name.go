package btrfsops

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// nameTime is how the time stands in an old root's name: UTC, so that names sort as time does and none comes twice when
// clocks are set back for winter.
const nameTime = "20060102T150405Z"

// Names that other set-ups' scripts wrote with date(1): %Y-%m-%d_%H:%M:%S and %Y-%m-%-d_%H:%M:%S. They wrote local time
// without saying which; it is read as UTC.
var foreignNames = []string{"2006-01-02_15:04:05", "2006-01-2_15:04:05"}

// unfinishedPrefix begins the name of a snapshot until it has all its attributes.
const unfinishedPrefix = ".unfinished-"

// IsUnfinished says whether a name in old_roots is that of a snapshot that has another name later, or that a comparison
// searches and deletes again. ListRoots lists one only when it was left behind.
func IsUnfinished(name string) bool { return strings.HasPrefix(name, unfinishedPrefix) }

// rootName is the name of an old root or snapshot: time and subvolume id, which makes it unique whatever the clock says.
func rootName(t time.Time, id SubvolumeID) string {
	return fmt.Sprintf("%s-%d", clampYear(t.UTC()).Format(nameTime), id)
}

// clampYear keeps the year at four digits, so that names stay sortable with a broken clock.
func clampYear(t time.Time) time.Time {
	switch {
	case t.Year() < 1970:
		return time.Unix(0, 0).UTC()
	case t.Year() > 9999:
		return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	default:
		return t
	}
}

// parseRootName reads the time from a name, ours or of a script. A zero time: it says none.
func parseRootName(name string) time.Time {
	if stamp, id, found := strings.Cut(name, "-"); found {
		t, err := time.Parse(nameTime, stamp)
		if _, errID := strconv.ParseUint(id, 10, 64); err == nil && errID == nil && clampYear(t).Equal(t) {
			return t
		}
	}
	for _, layout := range foreignNames {
		if t, err := time.Parse(layout, name); err == nil {
			return t
		}
	}
	return time.Time{}
}

// maxLabel is how many bytes a label may have.
const maxLabel = 255

// checkLabel refuses labels that would break a table or a terminal.
func checkLabel(label string) error {
	if len(label) > maxLabel || !utf8.ValidString(label) {
		return fmt.Errorf("%w: a label is UTF-8 text of at most %d bytes", ErrInvalidName, maxLabel)
	}
	if strings.ContainsFunc(label, unicode.IsControl) {
		return fmt.Errorf("%w: a label has no control characters", ErrInvalidName)
	}
	return nil
}
