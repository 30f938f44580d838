package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/impermanence/impermanence/persist"
)

// What to write, for each notation.
const (
	modeHint     = `write it in octal, such as "0755", or in symbols, such as "u=rwx,g=rx,o="`
	durationHint = `write a number and a unit (h, d, w, m, y), such as "30d"`
	minFreeHint  = `write a share, such as "10%", or a size, such as "5GiB"`
)

const day = 24 * time.Hour

// units are those of durations.
var units = map[byte]time.Duration{'h': time.Hour, 'd': day, 'w': 7 * day, 'm': 30 * day, 'y': 365 * day}

// ParseDuration reads a duration such as 30d, 6w, 36h or 1y2m; the units are h, d, w, m (30 days) and y (365 days).
func ParseDuration(s string) (time.Duration, error) {
	var total time.Duration
	for rest := s; rest != "" || s == ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		unit, ok := units[rest[digits]]
		if !ok {
			return 0, fmt.Errorf("%q is not a duration: there is no unit %q", s, rest[digits:digits+1])
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil || n > int64((math.MaxInt64-total)/unit) {
			return 0, fmt.Errorf("%q is longer than a duration can be", s)
		}
		total += time.Duration(n) * unit
		rest = rest[digits+1:]
	}
	return total, nil
}

// sizes are the units of minFree.
var sizes = map[string]uint64{
	"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}

// ParseMinFree reads 10% or 5GiB.
func ParseMinFree(s string) (MinFree, error) {
	number := strings.TrimRight(s, "%BKMGTik ")
	unit := strings.TrimSpace(s[len(number):])
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || math.IsNaN(n) || math.IsInf(n, 0) || strings.ContainsAny(number, "xXpP_+") {
		return MinFree{}, fmt.Errorf("%q is neither a share nor a size", s)
	}
	if unit == "%" {
		if n > 100 {
			return MinFree{}, fmt.Errorf("%q is more than everything", s)
		}
		return MinFree{Percent: n}, nil
	}
	size, ok := sizes[unit]
	if !ok {
		return MinFree{}, fmt.Errorf("%q has no unit", s)
	}
	if n*float64(size) >= math.MaxInt64 {
		return MinFree{}, fmt.Errorf("%q is larger than any file system", s)
	}
	return MinFree{Bytes: uint64(n * float64(size))}, nil
}

// parseMode reads a mode in octal (0755) or in symbols (u=rwx,g=rx,o=).
func parseMode(s string) (persist.Mode, error) {
	if strings.Contains(s, "=") {
		return parseSymbolicMode(s)
	}
	bits, err := strconv.ParseUint(s, 8, 32)
	if err != nil || bits > 0o7777 || len(s) < 3 {
		return persist.Mode{}, fmt.Errorf("%q is not a mode", s)
	}
	return persist.Mode{Bits: uint32(bits), Given: true}, nil
}

// parseSymbolicMode reads clauses such as u=rwx or go=rx; who is not named gets nothing.
func parseSymbolicMode(s string) (persist.Mode, error) {
	mode := persist.Mode{Given: true}
	for clause := range strings.SplitSeq(s, ",") {
		who, what, ok := strings.Cut(clause, "=")
		if !ok || who == "" {
			return persist.Mode{}, fmt.Errorf("%q is not a mode: %q says not for whom", s, clause)
		}
		mask, bits, err := clauseBits(who, what)
		if err != nil {
			return persist.Mode{}, fmt.Errorf("%q is not a mode: %w", s, err)
		}
		mode.Bits = mode.Bits&^mask | bits
	}
	return mode, nil
}

// classes gives, for each letter of who, the shift of its three bits and its set-id or sticky bit.
var classes = map[rune]struct {
	shift uint
	setID uint32
}{'u': {6, 0o4000}, 'g': {3, 0o2000}, 'o': {0, 0}}

// clauseBits gives the bits that a clause speaks of, and those that it sets.
func clauseBits(who, what string) (mask, bits uint32, err error) {
	if strings.Contains(who, "a") {
		who = "ugo"
	}
	for _, w := range who {
		class, ok := classes[w]
		if !ok {
			return 0, 0, fmt.Errorf("%q is not u, g, o or a", string(w))
		}
		mask |= 7<<class.shift | class.setID
		for _, p := range what {
			switch p {
			case 'r':
				bits |= 4 << class.shift
			case 'w':
				bits |= 2 << class.shift
			case 'x':
				bits |= 1 << class.shift
			case 's':
				bits |= class.setID
			case 't':
				bits |= 0o1000
			default:
				return 0, 0, fmt.Errorf("%q is not r, w, x, s or t", string(p))
			}
		}
	}
	return mask, bits, nil
}
