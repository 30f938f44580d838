package losses

import (
	"fmt"
	"path"
	"strings"
)

// Rule is one line of a file of rules.
type Rule struct {
	Origin  string // file:line
	Pattern string // as it is written
	negated bool
	dirOnly bool
	glob    string // without what negated and dirOnly say
	whole   bool   // it matches paths, not the last names alone
	literal bool   // nothing in glob is special
	suffix  string // glob is "*" and this
}

func (r *Rule) String() string { return r.Origin + ": " + r.Pattern }

// matches says whether the rule's pattern matches a path relative to its file's base; name is the last name of it.
func (r *Rule) matches(p, name string, dir bool) bool {
	if r.dirOnly && !dir {
		return false
	}
	subject := name
	if r.whole {
		subject = p
	}
	switch {
	case r.literal:
		return r.glob == subject
	case r.suffix != "":
		return strings.HasSuffix(subject, r.suffix)
	default:
		// As git does it: "a**/b" is compared as "a" and then "**/b".
		plain := strings.IndexAny(r.glob, special)
		return strings.HasPrefix(subject, r.glob[:plain]) && wildmatch(r.glob[plain:], subject[plain:])
	}
}

// UserFile is where a user's rules stand in his home.
const UserFile = ".config/impermanence/ignore"

// special are the characters that mean something in a pattern.
const special = `*?[\`

// file is the rules of one file, which are about what is below base.
type file struct {
	base  string // absolute and clean
	rules []*Rule
}

// Rules says what is ignored. It is for one goroutine.
type Rules struct {
	files []file
	dirs  map[string]*Rule // what was decided of directories lately
}

// maxDirs bounds what is remembered of directories.
const maxDirs = 4096

// Add adds the rules in text, which have the last word over those added before. They are about what is below base, an
// absolute path; origin names the file.
func (r *Rules) Add(base, origin, text string) {
	f := file{base: path.Clean(base)}
	text = strings.TrimPrefix(text, "\ufeff")
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if rule := parse(strings.TrimSuffix(line, "\r")); rule != nil {
			rule.Origin = fmt.Sprintf("%s:%d", origin, number)
			f.rules = append(f.rules, rule)
		}
	}
	r.files = append(r.files, f)
	r.dirs = nil
}

// parse reads one line; nil when it is no rule.
func parse(line string) *Rule {
	if strings.HasPrefix(line, "#") {
		return nil
	}
	line = trimSpaces(line)
	rule := &Rule{Pattern: line, glob: line}
	rule.glob, rule.negated = strings.CutPrefix(rule.glob, "!")
	rule.glob, rule.dirOnly = strings.CutSuffix(rule.glob, "/")
	if rule.glob == "" {
		return nil
	}
	rule.whole = strings.Contains(rule.glob, "/")
	rule.glob = strings.TrimPrefix(rule.glob, "/")
	rule.literal = !strings.ContainsAny(rule.glob, special)
	if rest, star := strings.CutPrefix(rule.glob, "*"); star && !rule.whole && !strings.ContainsAny(rest, special) {
		rule.suffix = rest
	}
	return rule
}

// trimSpaces takes off spaces at the end, but for one after a backslash.
func trimSpaces(line string) string {
	end := 0 // of what stays
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			continue
		case '\\':
			if i++; i == len(line) {
				return line
			}
		}
		end = i + 1
	}
	return line[:end]
}

// Ignored returns the rule by which an absolute path is ignored, nil when it is not. What lies in an ignored directory is
// ignored with it, whatever later rules say.
func (r *Rules) Ignored(p string, dir bool) *Rule {
	if rule := r.directory(path.Dir(p)); rule != nil {
		return rule
	}
	return r.decide(p, dir)
}

// directory returns the rule by which a directory is ignored.
func (r *Rules) directory(p string) *Rule {
	if p == "/" {
		return nil
	}
	if rule, known := r.dirs[p]; known {
		return rule
	}
	rule := r.Ignored(p, true)
	if r.dirs == nil || len(r.dirs) >= maxDirs {
		r.dirs = map[string]*Rule{}
	}
	r.dirs[p] = rule
	return rule
}

// decide finds the last rule that matches; nil when there is none, or it says that the path is not to be ignored.
func (r *Rules) decide(p string, dir bool) *Rule {
	name := path.Base(p)
	for i := len(r.files) - 1; i >= 0; i-- {
		f := r.files[i]
		below, inside := strings.CutPrefix(p, strings.TrimSuffix(f.base, "/")+"/")
		if !inside {
			continue
		}
		for j := len(f.rules) - 1; j >= 0; j-- {
			if rule := f.rules[j]; rule.matches(below, name, dir) {
				if rule.negated {
					return nil
				}
				return rule
			}
		}
	}
	return nil
}
