package persist

import (
	"os"
	"testing"
	"time"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestHostKeysOfSSH makes host keys as sshd's start does, twice with a boot between (impermanence#101, #197): they are made
// once. ssh-keygen renames them into place, which would replace a symlink.
func TestHostKeysOfSSH(t *testing.T) {
	m := newMachine(t)
	var entries []Entry
	for _, name := range []string{"ed25519", "rsa", "ecdsa"} {
		entries = append(entries, copyEntry("/etc/ssh/ssh_host_"+name+"_key"), copyEntry("/etc/ssh/ssh_host_"+name+"_key.pub"))
	}
	m.apply(entries...)
	m.mkdir("/etc/ssh")
	c := m.copyBack(time.Hour, entries...)
	btrfstest.Run(t, "ssh-keygen", "-A", "-f", m.root)
	c.stop()
	key := m.read("/etc/ssh/ssh_host_ed25519_key")
	m.boot()
	m.apply(entries...)
	m.wantText("/etc/ssh/ssh_host_ed25519_key", key)
	m.wantOwner("/etc/ssh/ssh_host_ed25519_key", "0:0 0600")
	btrfstest.Run(t, "ssh-keygen", "-A", "-f", m.root)
	for _, e := range entries {
		if _, err := os.Stat(m.path(e.Source)); err != nil {
			t.Error(err)
		}
	}
	m.wantText("/etc/ssh/ssh_host_ed25519_key", key)
	m.wantUnchanged(entries...)
}
