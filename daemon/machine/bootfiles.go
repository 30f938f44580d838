package machine

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// BootForm is how a file holds kernel command lines.
type BootForm uint8

// The forms.
const (
	PlainCmdline BootForm = iota // /etc/kernel/cmdline: nothing else in it but comments
	LoaderEntry                  // the Boot Loader Specification's type 1: options …
	GrubConfig                   // grub.cfg: generated, linux … lines
	GrubDefaults                 // /etc/default/grub: what grub.cfg is generated from
)

// BootFile is a file that kernel command lines come from.
type BootFile struct {
	Path  string // as the machine sees it
	Form  BootForm
	Text  string
	Lines []string // the command lines that boot something, as far as they can be told
	Loads []string // of a LoaderEntry: the kernel and the initrds, as the machine sees them
}

// BootPlaces are where what boots a machine lies: in its /boot, and where the EFI system partition may be mounted.
var BootPlaces = []string{"/boot", "/efi", "/boot/efi"}

// BootGlob lists what lies below root in /boot by one of some names, and in any place of what boots the machine by one of some paths, as kernel-install
// puts it. By its name alone nothing is known of what lies on an EFI system partition: that is /boot of another system perhaps. It is as the
// machine sees it.
func BootGlob(root string, names, paths []string) []string {
	var found []string
	for i, place := range BootPlaces {
		globs := paths
		if i == 0 {
			globs = slices.Concat(names, paths)
		}
		for _, glob := range globs {
			files, _ := filepath.Glob(filepath.Join(root, place, glob))
			for _, file := range files {
				found = append(found, strings.TrimPrefix(file, strings.TrimSuffix(root, "/")))
			}
		}
	}
	return found
}

// The places of boot loader configuration.
var (
	plainFiles = []string{"/etc/kernel/cmdline"}
	grubFiles  = []string{"/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"}
	grubShell  = "/etc/default/grub"
)

// BootFiles reads the boot configuration of the machine below root.
func BootFiles(root string) ([]BootFile, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("read the boot configuration: %w", err)
	}
	defer func() { _ = dir.Close() }()
	names := map[BootForm][]string{PlainCmdline: plainFiles, GrubConfig: grubFiles, GrubDefaults: {grubShell}}
	for _, place := range BootPlaces {
		found, err := fs.Glob(dir.FS(), path.Join(place[1:], "loader/entries/*.conf"))
		if err != nil {
			return nil, fmt.Errorf("read the boot configuration: %w", err)
		}
		names[LoaderEntry] = append(names[LoaderEntry], found...)
	}
	var files []BootFile
	for form := PlainCmdline; form <= GrubDefaults; form++ {
		for _, name := range names[form] {
			name = path.Join("/", name)
			text, err := dir.ReadFile(name[1:])
			if err != nil {
				continue // not there, or on a path that leaves the root
			}
			files = append(files, NewBootFile(name, form, string(text)))
		}
	}
	return files, nil
}

// NewBootFile reads the command lines in a file's text.
func NewBootFile(name string, form BootForm, text string) BootFile {
	f := BootFile{Path: name, Form: form, Text: text}
	switch form {
	case PlainCmdline:
		_, words := splitPlain(text)
		f.Lines = []string{strings.Join(strings.Fields(words), " ")}
	case LoaderEntry:
		var options []string
		kernel := false // else it starts something else: another system's loader, a memory test
		for line := range strings.Lines(text) {
			if rest, found := cutKey(line, "options"); found {
				options = append(options, rest)
			}
			image, found := cutKey(line, "linux")
			kernel = kernel || found
			initrds, _ := cutKey(line, "initrd")
			f.load(image, initrds)
		}
		if kernel {
			f.Lines = []string{strings.Join(options, " ")}
		}
	case GrubConfig:
		for _, m := range grubLinux().FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "root=") || strings.Contains(m[1], "$") { // else a memory test, or the like
				f.Lines = append(f.Lines, m[1])
			}
		}
	case GrubDefaults:
	}
	return f
}

// load notes files that an entry loads. Their names begin at the root of the file system that the entry is on; GRUB's may be those that the
// machine has for them.
func (f *BootFile) load(texts ...string) {
	mounted, _, _ := strings.Cut(f.Path, "/loader/entries/")
	for _, name := range strings.Fields(strings.Join(texts, " ")) {
		f.Loads = append(f.Loads, path.Join(mounted, name), path.Join("/", name))
	}
}

// LoadedByOthers are the files that no entry of a boot loader loads but those that boot another root; see MayBoot.
func LoadedByOthers(files []BootFile, subvolume, uuid string, names []string) map[string]bool {
	others, ours := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		of := others
		if slices.ContainsFunc(f.Lines, func(line string) bool { return MayBoot(line, subvolume, uuid, names) }) {
			of = ours
		}
		for _, name := range f.Loads {
			of[name] = true
		}
	}
	maps.DeleteFunc(others, func(name string, _ bool) bool { return ours[name] })
	return others
}

// splitPlain parts the lines of a file that is a command line: mkinitcpio leaves out those that begin with #.
func splitPlain(text string) (comments, words string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n") + "\n"
		if strings.HasPrefix(line, "#") {
			comments += line
		} else {
			words += line
		}
	}
	return comments, words
}

// grubLinux matches the line of grub.cfg that loads a kernel; the first argument is its file. Most commands never need it.
var grubLinux = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*linux(?:16|efi)?[ \t]+\S+[ \t]*(.*?)[ \t]*$`)
})

// cutKey gives what follows a key at the beginning of a line.
func cutKey(line, key string) (string, bool) {
	rest, found := strings.CutPrefix(strings.TrimSpace(line), key)
	return strings.TrimSpace(rest), found && rest != strings.TrimSpace(rest)
}

// For tells whether a command line boots the root on a file system: it has the file system's UUID or one of its other names, or names
// no root at all, or leaves it to a variable.
func For(line, uuid string, names []string) bool {
	root := ParseCmdline(line).Root
	return root == "" || strings.Contains(line, uuid) || slices.Contains(names, root)
}

// MayBoot tells whether a command line boots a subvolume of that file system as the root, for all that it says.
func MayBoot(line, subvolume, uuid string, names []string) bool {
	c := ParseCmdline(line)
	return For(line, uuid, names) && (c.Subvol == "" || c.Subvol == subvolume)
}

// Booting is the file's text so that its lines boot a subvolume by its path, where it can be changed by itself.
func (f BootFile) Booting(subvolume string) string {
	switch f.Form {
	case PlainCmdline:
		comments, _ := splitPlain(f.Text)
		return comments + WithSubvolume(f.Lines[0], subvolume) + "\n"
	case LoaderEntry:
		return f.entryBooting(subvolume)
	case GrubDefaults:
		return grubBooting(f.Text, subvolume)
	case GrubConfig:
	}
	return f.Text
}

// entryBooting changes the last line of options: with more than one they add up.
func (f BootFile) entryBooting(subvolume string) string {
	if len(f.Lines) == 0 || ParseCmdline(f.Lines[0]).Boots(subvolume) {
		return f.Text
	}
	lines := strings.SplitAfter(f.Text, "\n")
	last := -1
	for i, line := range lines {
		if rest, found := cutKey(line, "options"); found {
			last = i
			if strings.Contains(rest, "rootflags=") {
				break
			}
		}
	}
	if last < 0 {
		return strings.TrimRight(f.Text, "\n") + "\noptions rootflags=subvol=" + subvolume + "\n"
	}
	rest, _ := cutKey(lines[last], "options")
	lines[last] = "options " + WithSubvolume(rest, subvolume) + "\n"
	return strings.Join(lines, "")
}

// grubVariable matches GRUB_CMDLINE_LINUX in the shell's words, where they are simple ones.
var grubVariable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^([ \t]*GRUB_CMDLINE_LINUX=)(["']?)([^"'\n]*)(["']?)[ \t]*$`)
})

// grubAssigned matches any line that gives the variable something.
var grubAssigned = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[^#\n]*\bGRUB_CMDLINE_LINUX\+?=`)
})

// grubBooting changes the one simple assignment; where there are others it adds to what the shell makes of them.
func grubBooting(text, subvolume string) string {
	m := grubVariable().FindStringSubmatchIndex(text)
	switch assigned := grubAssigned().FindAllString(text, -1); {
	case len(assigned) == 0:
		return strings.TrimRight(text, "\n") + "\nGRUB_CMDLINE_LINUX=\"rootflags=subvol=" + subvolume + "\"\n"
	case len(assigned) > 1 || m == nil:
		return strings.TrimRight(text, "\n") + "\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX rootflags=subvol=" + subvolume + "\"\n"
	}
	return text[:m[0]] + text[m[2]:m[3]] + `"` + WithSubvolume(text[m[6]:m[7]], subvolume) + `"` + text[m[1]:]
}

// FirstFile gives the first of files that is there, below root; "" for none.
func FirstFile(root string, files ...string) string {
	for _, file := range files {
		if _, err := os.Lstat(filepath.Join(root, file)); err == nil {
			return file
		}
	}
	return ""
}
