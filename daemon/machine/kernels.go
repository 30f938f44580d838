package machine

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel is a kernel image that a boot loader can load.
type Kernel struct {
	File    string // as the machine sees it
	Version string // as `uname -r` will say
}

// BootKernels lists the kernels below root, by file. One whose version can't be told is left out, and so is one that comes with all that it
// needs to rescue the machine, as Fedora's: nobody keeps its modules.
func BootKernels(root string) []Kernel {
	var kernels []Kernel
	for _, name := range BootGlob(root, []string{"vmlinu[xz]*", "Image*"}, []string{"*/*/linux", "EFI/Linux/*.efi"}) {
		file := filepath.Join(root, name)
		info, err := os.Stat(file)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if version := kernelVersion(file); version != "" && !strings.Contains(name, "rescue") {
			kernels = append(kernels, Kernel{name, version})
		}
	}
	slices.SortFunc(kernels, func(a, b Kernel) int { return strings.Compare(a.File, b.File) })
	return kernels
}

// Without lists the kernels that have no modules among versions: what runs with them can load none.
func Without(kernels []Kernel, versions []string) []Kernel {
	return slices.DeleteFunc(slices.Clone(kernels), func(k Kernel) bool { return slices.Contains(versions, k.Version) })
}

// The x86 boot protocol (Documentation/arch/x86/boot.rst): the signature, and where the version's text is, in 512-byte blocks
// after the first.
const (
	headerSize    = 0x210
	signatureAt   = 0x202
	signature     = "HdrS"
	versionAt     = 0x20e
	versionBase   = 0x200
	versionLength = 128
)

// kernelVersion reads the version from an x86 image, else from the file's or its directory's name.
func kernelVersion(file string) string {
	if version := headerVersion(file); version != "" {
		return version
	}
	name := filepath.Base(file)
	if name == "linux" { // …/MACHINE-ID/VERSION/linux
		return filepath.Base(filepath.Dir(file))
	}
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "Image-"} {
		if version, found := strings.CutPrefix(name, prefix); found && strings.ContainsAny(version, "0123456789") {
			return version
		}
	}
	return ""
}

func headerVersion(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(f, header); err != nil || string(header[signatureAt:signatureAt+len(signature)]) != signature {
		return ""
	}
	text := make([]byte, versionLength)
	n, err := f.ReadAt(text, int64(binary.LittleEndian.Uint16(header[versionAt:]))+versionBase)
	if err != nil && n == 0 {
		return ""
	}
	text, _, _ = bytes.Cut(text[:n], []byte{0})
	version, _, _ := strings.Cut(string(text), " ")
	return version
}
