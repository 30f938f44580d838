package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
)

// Where the kernel says from which device it would resume, as major:minor and in pages (systemd-hibernate-resume sets them
// too, from what firmware variables say).
const (
	resumeDeviceFile = "/sys/power/resume"
	resumeOffsetFile = "/sys/power/resume_offset"
)

// imageSignatures stand in the last ten bytes of a swap header's page while an image waits there: the kernel's own,
// older ones, and those of uswsusp and TuxOnIce (see libblkid's swsuspend.c).
var imageSignatures = []string{"S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"}

// checkHibernation refuses when a hibernated system may still be resumed: it has the root mounted in its memory, and
// changing the file system under it destroys it. The unit runs after the decision to resume, which takes the signature
// away; this is for set-ups that get the order wrong.
func (b *boot) checkHibernation() error {
	if b.noResume {
		return nil
	}
	if b.resume != "" {
		if device, err := btrfsops.ResolveDevice(b.resume); err == nil {
			if err := checkImage(device, b.resumeOffset); err != nil {
				return err
			}
		}
	}
	number := readTrimmed(resumeDeviceFile)
	if number == "" || number == "0:0" {
		return nil
	}
	return checkImage("/dev/block/"+number, readTrimmed(resumeOffsetFile))
}

// checkImage looks for the signature of an image at an offset, in pages: that of a swap file, "" for a partition. A device that can't be
// read has none that could be resumed.
func checkImage(device, offset string) error {
	pages, _ := strconv.ParseInt(offset, 10, 64)
	f, err := os.Open(device)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	const length = 10
	signature := make([]byte, length)
	page := int64(os.Getpagesize())
	if _, err := io.ReadFull(io.NewSectionReader(f, pages*page+page-length, length), signature); err != nil {
		return nil
	}
	found := slices.ContainsFunc(imageSignatures, func(s string) bool { return strings.HasPrefix(string(signature), s) })
	if found {
		return fmt.Errorf("a hibernated system may still be resumed from %s: boot with noresume to give it up", device)
	}
	return nil
}

func readTrimmed(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
