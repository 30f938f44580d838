package machine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Names are what root= may call the file system on a device, besides its UUID: its devices, its label, and what their partitions are called.
func Names(ctx context.Context, device string) ([]string, error) {
	found, err := Probe(ctx, device)
	names := namesOf(device, found)
	for _, other := range devicesOf(found["UUID"]) {
		if other != device {
			found, errOther := Probe(ctx, other)
			names, err = append(names, namesOf(other, found)...), errors.Join(err, errOther)
		}
	}
	return names, err
}

// namesOf gives what a device is called, of which tags were found.
func namesOf(device string, found map[string]string) []string {
	names := append([]string{device}, volumeNames(device)...)
	for _, name := range []struct{ tag, root, link string }{
		{"LABEL", "LABEL=", "by-label"}, {"PART_ENTRY_UUID", "PARTUUID=", "by-partuuid"}, {"PART_ENTRY_NAME", "PARTLABEL=", "by-partlabel"},
	} {
		if value := found[name.tag]; value != "" {
			names = append(names, name.root+value, "/dev/disk/"+name.link+"/"+value)
		}
	}
	return names
}

// devicesOf lists the devices that a mounted btrfs is on.
func devicesOf(uuid string) []string {
	links, _ := filepath.Glob(filepath.Join("/sys/fs/btrfs", uuid, "devices/*"))
	var devices []string
	for _, link := range links {
		device := "/dev/" + filepath.Base(link)
		if name, err := os.ReadFile(filepath.Join(link, "dm/name")); err == nil {
			device = "/dev/mapper/" + strings.TrimSpace(string(name))
		}
		devices = append(devices, device)
	}
	return devices
}

// volumeNames gives what else a logical volume is called: /dev/GROUP/VOLUME. In the device mapper's name a hyphen parts the two, and one of their own
// stands twice.
func volumeNames(device string) []string {
	name, mapped := strings.CutPrefix(device, "/dev/mapper/")
	parts := strings.Split(strings.ReplaceAll(name, "--", "\x00"), "-")
	if !mapped || len(parts) != 2 {
		return nil
	}
	return []string{strings.ReplaceAll("/dev/"+parts[0]+"/"+parts[1], "\x00", "-")}
}
