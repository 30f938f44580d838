package losses

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// gitIgnores asks git which of paths it ignores, by rules and in a work tree where the paths exist.
func gitIgnores(t rapid.TB, dir, rules string, paths []string) map[string]string {
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, ".gitignore"), rules)
	cmd := exec.Command("git", "-C", dir, "-c", "core.excludesFile=", "check-ignore", "--no-index", "--verbose", "--non-matching", "-z", "--stdin")
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("git check-ignore: %v\n%s", err, &errs)
	}
	fields := strings.Split(strings.TrimSuffix(out.String(), "\x00"), "\x00")
	ignored := map[string]string{}
	for i := 0; i+3 < len(fields); i += 4 { // source, line, pattern, path
		if fields[i] != "" && !strings.HasPrefix(fields[i+2], "!") {
			ignored[fields[i+3]] = fields[i+1]
		}
	}
	return ignored
}

func newRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "--quiet", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	return dir
}

// The bytes that patterns and paths are made of: few, so that they meet.
var pieces = []string{"a", "b", "ab", "a", "b", "/", "/", "*", "**", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[[:alpha:]]", "[]a]", "[a", "\\", "\\*", " ", "é", "\xff", ".", "-", "!", "#"}

// Random rules and paths, ours against git's.
func TestRulesMatchAsGit(t *testing.T) {
	dir := newRepository(t)
	names := []string{"a", "b", "ab", "c", "a b", "é", "*", "!", "#", "a.b", "\xff", "-", "["}
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) string {
			negated := rapid.SampledFrom([]string{"", "", "", "!"}).Draw(rt, "negated")
			return negated + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 6).Draw(rt, "pieces"), "") +
				rapid.SampledFrom([]string{"", "", "/", "  ", "\\ ", "\r"}).Draw(rt, "end")
		}), 1, 5).Draw(rt, "rules")
		rules := strings.Join(text, "\n") + "\n"
		tree := filepath.Join(dir, "tree")
		paths := rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(names), 1, 4).Draw(rt, "path"), "/")
		}), 1, 8, rapid.ID).Draw(rt, "paths")
		if err := os.RemoveAll(tree); err != nil {
			rt.Fatal(err)
		}
		var made []string
		for _, p := range paths { // what can't be made beside the others is left out
			if os.MkdirAll(filepath.Join(tree, filepath.Dir(p)), 0o755) != nil {
				continue
			}
			if len(p)%3 == 0 && os.Mkdir(filepath.Join(tree, p), 0o755) == nil || os.WriteFile(filepath.Join(tree, p), nil, 0o600) == nil {
				made = append(made, p)
			}
		}
		if len(made) == 0 {
			return
		}
		if err := os.MkdirAll(tree, 0o755); err != nil {
			rt.Fatal(err)
		}
		want := gitIgnores(rt, tree, rules, made)
		var r Rules
		r.Add("/base", "f", rules)
		for _, p := range made {
			info, err := os.Lstat(filepath.Join(tree, p))
			if err != nil {
				rt.Fatal(err)
			}
			got := ""
			if rule := r.Ignored("/base/"+p, info.IsDir()); rule != nil {
				got = strings.TrimPrefix(rule.Origin, "f:")
			}
			if got != want[p] {
				rt.Errorf("%q with rules %q: line %q, git says %q", p, rules, got, want[p])
			}
		}
	})
}

func TestRulesOfSeveralFiles(t *testing.T) {
	var r Rules
	r.Add("/", "vendor", "/tmp/\n*.cache\n.cache/\n")
	r.Add("/", "machine", "# comment\n\n/var/lib/x\n!important.cache\n")
	r.Add("/home/u", "user", "/work/*.o\n!.cache/\n")
	for _, row := range []struct {
		path string
		dir  bool
		want string
	}{
		{"/tmp", true, "vendor:1: /tmp/"},
		{"/tmp", false, ""},
		{"/tmp/a/b", false, "vendor:1: /tmp/"},
		{"/a/b.cache", false, "vendor:2: *.cache"},
		{"/a/important.cache", false, ""},
		{"/var/lib/x/y", false, "machine:3: /var/lib/x"},
		{"/home/u/work/a.o", false, "user:1: /work/*.o"},
		{"/home/v/work/a.o", false, ""},
		{"/work/a.o", false, ""},
		{"/home/u/.cache/a", false, ""},
		{"/home/v/.cache/a", false, "vendor:3: .cache/"},
		{"/home/u", true, ""},
	} {
		got := ""
		if rule := r.Ignored(row.path, row.dir); rule != nil {
			got = rule.String()
		}
		if got != row.want {
			t.Errorf("%s is ignored by %q, want %q", row.path, got, row.want)
		}
	}
}

func TestKept(t *testing.T) {
	k := NewKept([]string{"/var/log", "/etc/machine-id", "/home/u/.ssh"})
	for p, want := range map[string][2]bool{
		"/var/log":           {true, false},
		"/var/log/journal/x": {true, false},
		"/var/logs":          {false, false},
		"/var":               {false, true},
		"/home/u":            {false, true},
		"/etc/machine-id":    {true, false},
		"/etc":               {false, true},
		"/":                  {false, false},
	} {
		if got := [2]bool{k.Holds(p), k.Leads(p)}; got != want {
			t.Errorf("%s: held and leading %v, want %v", p, got, want)
		}
	}
}

func FuzzWildmatch(f *testing.F) {
	for _, pattern := range []string{"a/**/b", "**/a", "a/**", "[a-", "[[:x:]]", "\\", "*a*b*c*d*e*f*g*h*i*j*", "[]-a]", "**/**/**/x"} {
		f.Add(pattern, "a/b/c/aaaaaaaaaaaaaaaaaaaaaaaaaaaa/x")
	}
	f.Fuzz(func(t *testing.T, pattern, p string) {
		var r Rules
		r.Add("/", "f", pattern)
		if rule := r.Ignored("/"+p, false); rule != nil && rule.negated {
			t.Error("ignored by a rule that says not to")
		}
		if wildmatch(pattern, p) && !strings.ContainsAny(pattern, `*?[\`) && pattern != p {
			t.Errorf("%q matches %q", pattern, p)
		}
	})
}
