package writelog

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// Entry is one request to the device: a write of Data at Offset, or a flush; or the moment at which the work said that
// what it had done was durable.
type Entry struct {
	Flush  bool
	Done   bool
	Offset int64
	Data   []byte
}

// Log is the requests of one recording, in the order in which the device got them.
type Log []Entry

// Record calls work with a loop device of image, and returns what was written to it meanwhile. The work calls done when what
// it did has to survive a power cut.
func Record(t *testing.T, image string, work func(device string, done func())) Log {
	t.Helper()
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	recorder := &recorder{file: file}
	mountPoint := t.TempDir()
	server, err := fs.Mount(mountPoint, &directory{recorder: recorder}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "writelog", MaxWrite: 1 << 20},
	})
	if err != nil {
		t.Fatalf("mount the recording file system: %v", err)
	}
	defer func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount the recording file system: %v", err)
		}
	}()
	t.Run("record", func(t *testing.T) { // the loop device is gone at the end of this
		work(btrfstest.Attach(t, filepath.Join(mountPoint, fileName)), recorder.done)
	})
	return recorder.log
}

const fileName = "device"

// directory is the root of the file system: one file.
type directory struct {
	fs.Inode
	recorder *recorder
}

// OnAdd makes the file.
func (d *directory) OnAdd(ctx context.Context) {
	inode := d.NewPersistentInode(ctx, d.recorder, fs.StableAttr{Mode: syscall.S_IFREG, Ino: 2})
	d.AddChild(fileName, inode, true)
}

// recorder is the file: it passes everything on to the image and keeps what was written.
type recorder struct {
	fs.Inode
	mutex sync.Mutex
	file  *os.File
	log   Log
}

// Open opens the file.
func (r *recorder) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

// Getattr gives the image's size.
func (r *recorder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	info, err := r.file.Stat()
	if err != nil {
		return fs.ToErrno(err)
	}
	out.Size, out.Mode = uint64(info.Size()), syscall.S_IFREG|0o600
	return 0
}

// Setattr ignores what a loop device may set: times.
func (r *recorder) Setattr(ctx context.Context, f fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return r.Getattr(ctx, f, out)
}

// Read reads the image.
func (r *recorder) Read(_ context.Context, _ fs.FileHandle, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	n, err := r.file.ReadAt(dest, offset)
	if n == 0 && err != nil {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write writes to the image and to the log.
func (r *recorder) Write(_ context.Context, _ fs.FileHandle, data []byte, offset int64) (uint32, syscall.Errno) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if _, err := r.file.WriteAt(data, offset); err != nil {
		return 0, fs.ToErrno(err)
	}
	r.log = append(r.log, Entry{Offset: offset, Data: append([]byte(nil), data...)})
	return uint32(len(data)), 0
}

// Fsync is a flush of the device.
func (r *recorder) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	r.add(Entry{Flush: true})
	return 0
}

func (r *recorder) done() { r.add(Entry{Done: true}) }

func (r *recorder) add(e Entry) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.log = append(r.log, e)
}
