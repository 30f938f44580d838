package btrfsops

import "golang.org/x/sys/unix"

// The kernel's interface, from include/uapi/linux/btrfs.h and btrfs_tree.h. golang.org/x/sys/unix has none of it and
// github.com/dennwc/btrfs exports only some. The structs are laid out as on 64-bit machines; uapi_test.go compares sizes,
// offsets and ioctl numbers with the header of the machine that runs the tests.

// Request numbers: _IOC(direction, type 0x94, number, size of the argument).
const (
	iocRead  = 2 << 30
	iocWrite = 1 << 30
	iocMagic = 0x94 << 8

	iocInoLookup     = iocRead | iocWrite | 4096<<16 | iocMagic | 18 // BTRFS_IOC_INO_LOOKUP
	iocTreeSearchV2  = iocRead | iocWrite | 112<<16 | iocMagic | 17  // BTRFS_IOC_TREE_SEARCH_V2
	iocSync          = iocMagic | 8                                  // BTRFS_IOC_SYNC
	iocStartSync     = iocRead | 8<<16 | iocMagic | 24               // BTRFS_IOC_START_SYNC
	iocSnapCreateV2  = iocWrite | 4096<<16 | iocMagic | 23           // BTRFS_IOC_SNAP_CREATE_V2
	iocSubvolCreate  = iocWrite | 4096<<16 | iocMagic | 24           // BTRFS_IOC_SUBVOL_CREATE_V2
	iocDefaultSubvol = iocWrite | 8<<16 | iocMagic | 19              // BTRFS_IOC_DEFAULT_SUBVOL
	iocGetSubvolInfo = iocRead | 504<<16 | iocMagic | 60             // BTRFS_IOC_GET_SUBVOL_INFO
	iocDevicesReady  = iocRead | 4096<<16 | iocMagic | 39            // BTRFS_IOC_DEVICES_READY
	iocSnapDestroyV2 = iocWrite | 4096<<16 | iocMagic | 63           // BTRFS_IOC_SNAP_DESTROY_V2
)

// Object ids, key types and flags.
const (
	rootTreeID     = 1            // BTRFS_ROOT_TREE_OBJECTID
	uuidTreeID     = 9            // BTRFS_UUID_TREE_OBJECTID
	rootTreeDirID  = 6            // BTRFS_ROOT_TREE_DIR_OBJECTID
	firstFreeID    = 256          // BTRFS_FIRST_FREE_OBJECTID: also the inode number of a subvolume's directory
	lastFreeID     = ^uint64(255) // BTRFS_LAST_FREE_OBJECTID
	orphanObjectID = ^uint64(4)   // BTRFS_ORPHAN_OBJECTID

	keyInodeItem   = 1   // BTRFS_INODE_ITEM_KEY
	keyInodeRef    = 12  // BTRFS_INODE_REF_KEY
	keyInodeExtref = 13  // BTRFS_INODE_EXTREF_KEY
	keyXattrItem   = 24  // BTRFS_XATTR_ITEM_KEY
	keyOrphanItem  = 48  // BTRFS_ORPHAN_ITEM_KEY
	keyDirItem     = 84  // BTRFS_DIR_ITEM_KEY
	keyDirIndex    = 96  // BTRFS_DIR_INDEX_KEY
	keyExtentData  = 108 // BTRFS_EXTENT_DATA_KEY
	keyRootItem    = 132 // BTRFS_ROOT_ITEM_KEY
	keyRootBackref = 144 // BTRFS_ROOT_BACKREF_KEY
	keyUUIDSubvol  = 251 // BTRFS_UUID_KEY_SUBVOL
	keyLast        = 255 // the largest that there can be

	subvolReadOnly   = 1 << 1 // BTRFS_SUBVOL_RDONLY, of SNAP_CREATE_V2
	subvolSpecByID   = 1 << 4 // BTRFS_SUBVOL_SPEC_BY_ID, of SNAP_DESTROY_V2
	rootFlagReadOnly = 1 << 0 // BTRFS_ROOT_SUBVOL_RDONLY, of a root item

	typeDirectory = 2 // BTRFS_FT_DIR: a directory, or a subvolume

	extentInline   = 0 // BTRFS_FILE_EXTENT_INLINE
	extentRegular  = 1 // BTRFS_FILE_EXTENT_REG
	extentPrealloc = 2 // BTRFS_FILE_EXTENT_PREALLOC: allocated, not written, reads as zeros
)

// volArgsV2 is struct btrfs_ioctl_vol_args_v2. Name doubles as the subvolume id where flags say so.
type volArgsV2 struct {
	Fd      int64
	Transid uint64
	Flags   uint64
	Unused  [4]uint64
	Name    [4040]byte
}

// volArgs is struct btrfs_ioctl_vol_args.
type volArgs struct {
	Fd   int64
	Name [4088]byte
}

// inoLookupArgs is struct btrfs_ioctl_ino_lookup_args.
type inoLookupArgs struct {
	Treeid   uint64
	Objectid uint64
	Name     [4080]byte
}

// searchKey is struct btrfs_ioctl_search_key.
type searchKey struct {
	TreeID                   uint64
	MinObjectid, MaxObjectid uint64
	MinOffset, MaxOffset     uint64
	MinTransid, MaxTransid   uint64
	MinType, MaxType         uint32
	NrItems                  uint32
	_                        uint32
	_                        [4]uint64
}

// searchBufferSize is the size in bytes of one answer of a tree search; larger ones were not faster. The kernel touches all
// of what it is given before it searches, so a look-up of a few items is given less, and so is a first answer: 16 KiB, and
// room for any item, so that it is known to be the only one when they were enough. A scan for changes gets a leaf at a time:
// what it can pass over then is often not copied at all.
const (
	searchBufferSize = 256 << 10
	firstBufferSize  = 16<<10 + maxItemSize
	scanBufferSize   = 16 << 10
	lookupBufferSize = 4 << 10
)

// searchArgsV2 is struct btrfs_ioctl_search_args_v2 with its buffer.
type searchArgsV2 struct {
	Key     searchKey
	BufSize uint64
	Buf     [searchBufferSize]byte
}

// subvolInfoArgs is struct btrfs_ioctl_get_subvol_info_args.
type subvolInfoArgs struct {
	Treeid       uint64
	Name         [256]byte
	ParentID     uint64
	Dirid        uint64
	Generation   uint64
	Flags        uint64
	UUID         [16]byte
	ParentUUID   [16]byte
	ReceivedUUID [16]byte
	Ctransid     uint64
	Otransid     uint64
	Stransid     uint64
	Rtransid     uint64
	Ctime        timespec
	Otime        timespec
	Stime        timespec
	Rtime        timespec
	_            [8]uint64
}

// timespec is struct btrfs_ioctl_timespec, padded as the compiler does.
type timespec struct {
	Sec  uint64
	Nsec uint32
	_    uint32
}

const (
	btrfsMagic  = unix.BTRFS_SUPER_MAGIC
	nameMaximum = 255 // BTRFS_NAME_LEN
)
