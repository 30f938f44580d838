package losses

import "strings"

// wildmatch says whether a pattern of gitignore(5) matches a whole path, byte for byte: "?" and "*" match no "/", "**/" any
// number of directories, "/**" what is inside. A pattern that is not well formed matches nothing. See wildmatch.c of git,
// with WM_PATHNAME.
func wildmatch(pattern, path string) bool { return match(pattern, path, true) == matched }

// verdict tells why there is no match, so that a star further left need not try on: it is what keeps the time polynomial.
type verdict int

const (
	matched        verdict = iota
	unmatched              // this way
	unmatchedAtAll         // nor any other: the path is at its end
	unmatchedHere          // nor with any other number of bytes for the last "*": it can't go past the "/"
)

// match matches the rest of a pattern with the rest of a path; start says that the pattern's rest begins a component.
func match(pattern, path string, start bool) verdict {
	for pattern != "" {
		c := pattern[0]
		if path == "" && c != '*' {
			return unmatchedAtAll
		}
		switch c {
		case '*':
			return matchStars(pattern, path, start)
		case '?':
			if path[0] == '/' {
				return unmatched
			}
			pattern = pattern[1:]
		case '[':
			rest, ok := matchClass(pattern[1:], path[0])
			if rest == "" && !ok {
				return unmatchedAtAll
			}
			if !ok || path[0] == '/' {
				return unmatched
			}
			pattern = rest[1:]
		default:
			if c == '\\' {
				if pattern = pattern[1:]; pattern == "" {
					return unmatchedAtAll
				}
				c = pattern[0]
			}
			if c != path[0] {
				return unmatched
			}
			pattern = pattern[1:]
		}
		start = c == '/'
		path = path[1:]
	}
	if path != "" {
		return unmatched
	}
	return matched
}

// matchStars matches a pattern that begins with "*".
func matchStars(pattern, path string, start bool) verdict {
	rest := strings.TrimLeft(pattern, "*")
	deep := len(pattern)-len(rest) > 1 && start && (rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`))
	switch {
	case deep && strings.HasPrefix(rest, "/"):
		if match(rest[1:], path, true) == matched { // "**/" may match no directory
			return matched
		}
	case rest == "" && !deep:
		if strings.Contains(path, "/") {
			return unmatchedHere
		}
		return matched
	case rest == "":
		return matched
	}
	for ; path != ""; path = path[1:] {
		if v := match(rest, path, false); v != unmatched {
			if !deep || v != unmatchedHere {
				return v
			}
		} else if !deep && path[0] == '/' {
			return unmatchedHere
		}
	}
	return unmatchedAtAll
}

// classes are the bytes of the classes that may stand in brackets, in the C locale.
var classes = map[string]func(c byte) bool{
	"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
	"alpha":  isAlpha,
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	"digit":  isDigit,
	"graph":  isGraph,
	"lower":  func(c byte) bool { return c >= 'a' && c <= 'z' },
	"print":  func(c byte) bool { return isGraph(c) || c == ' ' },
	"punct":  func(c byte) bool { return isGraph(c) && !isAlpha(c) && !isDigit(c) },
	"space":  func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' },
	"upper":  func(c byte) bool { return c >= 'A' && c <= 'Z' },
	"xdigit": func(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' },
}

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isGraph(c byte) bool { return c > ' ' && c < 0x7f }

// matchClass matches one byte with what stands in brackets, and returns the pattern from the closing one on; "" when there
// is none, which is never a match.
func matchClass(pattern string, c byte) (rest string, ok bool) {
	negated := strings.HasPrefix(pattern, "!") || strings.HasPrefix(pattern, "^")
	if negated {
		pattern = pattern[1:]
	}
	previous, found := -1, false // previous: the byte before, which may begin a range
	for first := true; ; first = false {
		switch {
		case pattern == "":
			return "", false
		case pattern[0] == ']' && !first:
			return pattern, found != negated
		case strings.HasPrefix(pattern, "[:"):
			name, after, closed := strings.Cut(pattern[2:], "]")
			if !closed {
				return "", false
			}
			if name, named := strings.CutSuffix(name, ":"); named {
				is := classes[name]
				if is == nil {
					return "", false
				}
				found = found || is(c)
				pattern, previous = after, -1
				continue
			}
		case pattern[0] == '-' && previous >= 0 && len(pattern) > 1 && pattern[1] != ']':
			end, after := unescape(pattern[1:])
			found = found || int(c) >= previous && c <= end
			pattern, previous = after, -1
			continue
		}
		var b byte
		if b, pattern = unescape(pattern); b == c {
			found = true
		}
		previous = int(b)
	}
}

// unescape takes one byte off a pattern, which is not empty.
func unescape(pattern string) (b byte, rest string) {
	if pattern[0] == '\\' && len(pattern) > 1 {
		pattern = pattern[1:]
	}
	return pattern[0], pattern[1:]
}
