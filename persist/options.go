package persist

import (
	"slices"
	"strings"
)

// ValidMountOption tells whether a bind mount can have the option. Those that begin with x- are notes for other programs.
func ValidMountOption(option string) bool {
	if rest, ok := strings.CutPrefix(option, "x-"); ok {
		return rest != "" && !strings.ContainsAny(rest, ", \t\n\x00")
	}
	return isMountOption(option)
}

func isMountOption(option string) bool {
	return slices.ContainsFunc(mountOptions[:], func(o mountOption) bool { return o.name == option })
}

// MountOptionNames gives the names of the options of a bind mount.
func MountOptionNames() []string {
	names := make([]string, len(mountOptions))
	for i, o := range mountOptions {
		names[i] = o.name
	}
	return names
}

// ComparePaths orders clean paths so that what is in a directory follows it directly.
func ComparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// Within tells whether a clean path is dir or lies below it.
func Within(p, dir string) bool { return p == dir || Below(p, dir) }

// Below tells whether a clean path lies strictly below another.
func Below(p, dir string) bool {
	if dir == "/" {
		return len(p) > 1
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}
