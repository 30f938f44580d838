package fstab

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const text = "# comment\n\nUUID=1\t/\tbtrfs  defaults,subvol=@rootfs 0 1\nUUID=1 /with\\040space btrfs subvol=a\\040b\n/dev/sdb1 / ext4\n"
	table := Parse(text)
	if got := table.String(); got != text {
		t.Errorf("unchanged it becomes %q", got)
	}
	if line, found := table.At("/with space/"); !found || line.Options[0] != "subvol=a b" {
		t.Errorf("got %+v, %t", line, found)
	}
	if line, _ := table.At("/"); line.Spec != "/dev/sdb1" {
		t.Errorf("of two lines the first was found: %+v", line)
	}
	if _, found := table.At("/none"); found {
		t.Error("a line was found for what has none")
	}
	root := table[2]
	if value, found := root.Option("subvol"); value != "@rootfs" || !found {
		t.Errorf("subvol is %q, %t", value, found)
	}
	if got := root.WithOptions([]string{"noatime", "subvol=/@rootfs"}).Text; got != "UUID=1\t/\tbtrfs  noatime,subvol=/@rootfs 0 1" {
		t.Errorf("with other options it becomes %q", got)
	}
	if got := table[4].WithOptions([]string{"ro"}).Text; got != "/dev/sdb1 / ext4 ro" {
		t.Errorf("with options for the first time it becomes %q", got)
	}
	if got := NewLine("UUID=1", "/with space", "btrfs", []string{"rw"}, "0 0").Text; got != `UUID=1 /with\040space btrfs rw 0 0` {
		t.Errorf("made: %q", got)
	}
	if got := table[3].WithOptions([]string{"subvol=a b", "ro"}).Text; got != `UUID=1 /with\040space btrfs subvol=a\040b,ro` {
		t.Errorf("with one more option it becomes %q", got)
	}
}

// TestParseAsLibmountDoes holds the reading against that of findmnt.
func TestParseAsLibmountDoes(t *testing.T) {
	const text = "# comment\n\n \t\n  # one more\nUUID=1\t/\tbtrfs  defaults,subvol=@ 0 1\r\nUUID=1 /with\\040space btrfs subvol=a\\040b\\043\n" +
		"/dev/sdb1 /three ext4\n/dev/a /odd\v\u0085place btrfs subvol=c\v\u0085d 0 0\n/dev/a /back\\134\\134040 btrfs subvol=x\r\n" +
		"  \t/dev/b /lead auto ro\n/dev/b /quote btrfs sub\"vol=q 0 0 # end\n/dev/c /no\\08octal btrfs x=\\9\\\n/dev/d /last btrfs,ext4 ro,,rw"
	file := filepath.Join(t.TempDir(), "fstab")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("findmnt", "--json", "--tab-file", file, "--output", "SOURCE,TARGET,FSTYPE,OPTIONS").Output()
	if err != nil {
		t.Fatalf("findmnt: %v", err)
	}
	type row struct{ Source, Target, FSType, Options string }
	var want struct{ Filesystems []row }
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatalf("read what findmnt prints: %v\n%s", err, out)
	}
	for i := range want.Filesystems { // it tells nothing of options that are not there
		if want.Filesystems[i].Options == "" {
			want.Filesystems[i].Options = "defaults"
		}
	}
	var got []row
	for _, line := range Parse(text) {
		if line.Point != "" {
			got = append(got, row{line.Spec, line.Point, line.Type, strings.Join(line.Options, ",")})
		}
	}
	if diff := cmp.Diff(want.Filesystems, got); diff != "" {
		t.Errorf("(-findmnt +ours):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("UUID=1 / btrfs subvol=@,x-initrd.mount 0 0\n# no\n\\134\\040 \\011 btrfs")
	f.Fuzz(func(t *testing.T, text string) {
		table := Parse(text)
		if got := table.String(); got != text && got != text+"\n" {
			t.Errorf("%q becomes %q", text, got)
		}
		for _, line := range table {
			if line.Point == "" {
				continue
			}
			again := parseLine(line.WithOptions([]string{"new"}).Text)
			if again.Point != line.Point || again.Spec != line.Spec || again.Type != line.Type || !cmp.Equal(again.Options, []string{"new"}) {
				t.Errorf("%q with options: %+v, not %+v", line.Text, again, line)
			}
		}
	})
}
