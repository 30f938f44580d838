package losses

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
)

// Home is a user and where he is at home.
type Home struct {
	UID uint32
	Dir string // absolute
}

// Homes reads passwd(5): root and the people, without the users of the system. Lines that say nothing sound are left out.
func Homes(passwd []byte) []Home {
	const firstPerson, nobody = 1000, 65534
	var homes []Home
	for lines := bufio.NewScanner(bytes.NewReader(passwd)); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 6 || !strings.HasPrefix(fields[5], "/") || fields[5] == "/" {
			continue
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		if err == nil && (uid == 0 || uid >= firstPerson && uid != nobody) {
			homes = append(homes, Home{uint32(uid), fields[5]})
		}
	}
	return homes
}

// UserFile is where a user's rules stand in his home.
const UserFile = ".config/impermanence/ignore"
