package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Tree is a root file system that programs can run in: the kernel's file systems are mounted in it, and what the running
// machine has mounted below its own root, as far as asked for. The mounts are made in the mount namespace of this process,
// which is best one of its own.
type Tree struct {
	dir    string
	mounts []string
	out    io.Writer
}

// kernelMounts are made in each tree, in order.
var kernelMounts = [][]string{
	{"--rbind", "/sys", "/sys"},
	{"--rbind", "/dev", "/dev"},
	{"-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"},
	{"-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp"},
}

// Bind is something that a tree is to show as well.
type Bind struct {
	From string
	At   string // in the tree; left out where the tree has nothing there
}

// Binds gives what the machine below root has mounted in its tree, but for what is of the kernel or of one boot: a program that
// runs in another tree with these writes where it would write in the machine.
func Binds(root string, mounts []Mount) []Bind {
	var binds []Bind
	for _, m := range mounts {
		own := slices.ContainsFunc([]string{"/proc", "/sys", "/dev", "/run", "/tmp"}, func(dir string) bool { return Within(m.Point, dir) })
		if m.Point != "/" && !own && m.Type != "autofs" {
			binds = append(binds, Bind{filepath.Join(root, m.Point), m.Point})
		}
	}
	return binds
}

// OpenTree mounts in dir what programs need, and binds. What is run by Run prints to out. Close takes the mounts away.
func OpenTree(ctx context.Context, dir string, binds []Bind, out io.Writer) (*Tree, error) {
	t := &Tree{dir: dir, out: out}
	for _, args := range kernelMounts {
		if err := t.mount(ctx, args[len(args)-1], args[:len(args)-1]...); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	// Debian's /var/lock leads there.
	if err := os.MkdirAll(filepath.Join(dir, "run/lock"), 0o1777); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the tree: %w", err), t.Close())
	}
	for _, bind := range binds {
		if err := t.mount(ctx, bind.At, "--bind", bind.From); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	if err := t.resolver(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// mount mounts at a path of the tree; one that the tree does not have is left out.
func (t *Tree) mount(ctx context.Context, at string, args ...string) error {
	place, err := resolveIn(t.dir, at)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := run(ctx, t.out, "mount", append(slices.Clone(args), place)...); err != nil {
		return err
	}
	t.mounts = append(t.mounts, place)
	if args[0] == "--rbind" { // what happens in the copy stays there
		return run(ctx, t.out, "mount", "--make-rslave", place)
	}
	return nil
}

// Resolve follows a path of the machine below root, whose symlinks lead where they do in it, and gives it as the machine sees it.
// Errors: fs.ErrNotExist.
func Resolve(root, at string) (string, error) {
	place, err := resolveIn(root, at)
	return filepath.Join("/", strings.TrimPrefix(place, filepath.Clean(root))), err
}

// resolveIn follows a path in a tree as if the tree were "/", and gives it from outside.
func resolveIn(dir, at string) (string, error) {
	resolved := ""
	rest := strings.Split(strings.Trim(at, "/"), "/")
	for hops := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		next := path.Join("/", resolved, name)
		info, err := os.Lstat(filepath.Join(dir, next))
		if err != nil {
			return "", fmt.Errorf("find %s in %s: %w", at, dir, err)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			if len(rest) > 0 && !info.IsDir() {
				return "", fmt.Errorf("find %s in %s: %s is no directory: %w", at, dir, next, os.ErrNotExist)
			}
			resolved = next
			continue
		}
		const maxHops = 40 // the kernel's limit
		if hops++; hops > maxHops {
			return "", fmt.Errorf("find %s in %s: too many symlinks", at, dir)
		}
		link, err := os.Readlink(filepath.Join(dir, next))
		if err != nil {
			return "", fmt.Errorf("find %s in %s: %w", at, dir, err)
		}
		if path.IsAbs(link) {
			resolved = ""
		}
		rest = append(strings.Split(strings.Trim(link, "/"), "/"), rest...)
	}
	return filepath.Join(dir, resolved), nil
}

// resolver lets programs in the tree find names: /etc/resolv.conf is often a link to below /run.
func (t *Tree) resolver(ctx context.Context) error {
	const file = "/etc/resolv.conf"
	text, err := os.ReadFile(file)
	if err != nil || t.dir == "/" {
		return nil //nolint:nilerr // a machine without names
	}
	link, err := os.Readlink(filepath.Join(t.dir, file))
	if err != nil {
		return t.mount(ctx, file, "--bind", file)
	}
	if !path.IsAbs(link) {
		link = path.Join(path.Dir(file), link)
	}
	if !Within(link, "/run") {
		return nil
	}
	place := filepath.Join(t.dir, link)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return fmt.Errorf("let the tree find names: %w", err)
	}
	if err := os.WriteFile(place, text, 0o644); err != nil {
		return fmt.Errorf("let the tree find names: %w", err)
	}
	return nil
}

// Command is a program to run in the tree, as root of process ids of its own: what it leaves running ends with it. It is
// told that systemd is not to be asked.
func (t *Tree) Command(ctx context.Context, argv ...string) *exec.Cmd {
	isolate := []string{"--pid", "--fork", "--kill-child", "--mount-proc=" + filepath.Join(t.dir, "proc"), "--", "chroot", t.dir}
	cmd := exec.CommandContext(ctx, "unshare", append(isolate, argv...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_OFFLINE=1", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.Dir = "/"
	return cmd
}

// Run runs a program in the tree to its end.
func (t *Tree) Run(ctx context.Context, argv ...string) error {
	cmd := t.Command(ctx, argv...)
	cmd.Stdout, cmd.Stderr = t.out, t.out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s in %s: %w", strings.Join(argv, " "), t.dir, err)
	}
	return nil
}

// Close unmounts what OpenTree mounted.
func (t *Tree) Close() error {
	var failed []error
	for _, place := range slices.Backward(t.mounts) {
		failed = append(failed, run(context.Background(), t.out, "umount", "--lazy", "--recursive", place))
	}
	t.mounts = nil
	return errors.Join(failed...)
}

// RunIn runs a program in the machine below root: directly in the running one.
func RunIn(ctx context.Context, root string, out io.Writer, argv ...string) error {
	if root == "/" {
		return run(ctx, out, argv[0], argv[1:]...)
	}
	t, err := OpenTree(ctx, root, nil, out)
	if err != nil {
		return err
	}
	return errors.Join(t.Run(ctx, argv...), t.Close())
}

func run(ctx context.Context, out io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}
