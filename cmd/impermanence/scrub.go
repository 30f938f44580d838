package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// scrubber replaces what tells who or where somebody is: names of people, of the machine and of file systems. The same
// name is always replaced by the same word, so that it still shows what belongs together.
type scrubber struct {
	words    *strings.Replacer // known names, the longest first
	patterns []*pattern
}

// pattern is a kind of name that is known by its looks.
type pattern struct {
	looks *regexp.Regexp
	group int // of looks, that is replaced
	word  string
	seen  map[string]string
}

// newScrubber returns a scrubber for a machine whose name and state are known; s may be nil.
func newScrubber(host string, s *state) *scrubber {
	words := map[string]string{}
	if len(host) > 2 && host != "localhost" { // a shorter one is a part of too much
		words[host] = "HOST"
	}
	if s != nil {
		for _, r := range s.roots {
			if len(r.Label) > 2 {
				words[r.Label] = "LABEL"
			}
		}
		for _, e := range s.entries {
			for _, name := range []string{e.User, e.Group} {
				if len(name) > 2 && name != "root" && words[name] == "" {
					words[name] = fmt.Sprintf("USER-%d", len(words)+1)
				}
			}
		}
	}
	known := make([]string, 0, len(words))
	for word := range words {
		known = append(known, word)
	}
	slices.SortFunc(known, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, word := range known {
		pairs = append(pairs, word, words[word])
	}
	return &scrubber{words: strings.NewReplacer(pairs...), patterns: patterns()}
}

// patterns are the kinds of names, in the order in which they are looked for.
func patterns() []*pattern {
	kind := func(looks string, group int, word string) *pattern {
		return &pattern{regexp.MustCompile(looks), group, word, map[string]string{}}
	}
	return []*pattern{
		kind(`[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}`, 0, "UUID"),
		kind(`\b[0-9a-f]{32}\b`, 0, "ID"),
		kind(`\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b`, 0, "ADDRESS"),
		kind(`\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b`, 0, "ADDRESS"),
		kind(`/home/([^/\s"',:;]+)`, 1, "USER-AT"),
		kind(`/(?:run/)?user/([0-9]+)`, 1, "UID"),
		kind(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+`, 0, "MAIL"),
		kind(`\b(?:LABEL|PARTLABEL)=("[^"]*"|\S+)`, 1, "NAME"),
		kind(`/dev/mapper/([^\s"',:;]+)`, 1, "NAME"),
	}
}

// text returns a text without such names.
func (s *scrubber) text(text string) string {
	for _, p := range s.patterns {
		text = p.replace(text)
	}
	return s.words.Replace(text)
}

// replace replaces what looks like p.
func (p *pattern) replace(text string) string {
	var out strings.Builder
	end := 0
	for _, found := range p.looks.FindAllStringSubmatchIndex(text, -1) {
		from, to := found[2*p.group], found[2*p.group+1]
		name := text[from:to]
		if p.seen[name] == "" {
			p.seen[name] = fmt.Sprintf("%s-%d", p.word, len(p.seen)+1)
		}
		out.WriteString(text[end:from] + p.seen[name])
		end = to
	}
	return out.String() + text[end:]
}
