package persist

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// watchMask is what tells that a name in a directory may show something else now, or that the directory went away.
const watchMask = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO |
	unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// inotifyHeader is the size of struct inotify_event without its name (inotify(7)).
const inotifyHeader = 16

// watcher tells of changes in directories.
type watcher struct {
	file *os.File
	call func(fd int, path string, mask uint32) (int, error) // inotify_add_watch(2)
}

// watchEvent is a change: of a name in a watched directory, or, without a name, of the directory itself. Lost events are told
// as an event of no directory.
type watchEvent struct {
	watch int
	name  string
}

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, wrap("watch", "files", err)
	}
	return &watcher{os.NewFile(uintptr(fd), "inotify"), unix.InotifyAddWatch}, nil
}

// add watches a directory that is held by a descriptor. A directory that is watched already gives the same number.
func (w *watcher) add(dir int, object string) (int, error) {
	number := -1
	connection, err := w.file.SyscallConn()
	if err != nil {
		return -1, wrap("watch", object, err)
	}
	control := connection.Control(func(fd uintptr) { number, err = w.call(int(fd), procPath(dir), watchMask) })
	return number, wrap("watch", object, errors.Join(control, err))
}

// read waits for changes. It ends with an error when the watcher is closed.
func (w *watcher) read(buf []byte) ([]watchEvent, error) {
	n, err := w.file.Read(buf)
	if err != nil {
		return nil, err
	}
	return parseEvents(buf[:n]), nil
}

// parseEvents reads the kernel's records.
func parseEvents(data []byte) []watchEvent {
	var events []watchEvent
	for len(data) >= inotifyHeader {
		e := watchEvent{watch: int(int32(binary.NativeEndian.Uint32(data)))}
		length := int(binary.NativeEndian.Uint32(data[12:]))
		if length > len(data)-inotifyHeader {
			break
		}
		e.name = strings.TrimRight(string(data[inotifyHeader:inotifyHeader+length]), "\x00")
		events = append(events, e)
		data = data[inotifyHeader+length:]
	}
	return events
}

func (w *watcher) close() { _ = w.file.Close() }
