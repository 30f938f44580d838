package btrfsops

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// The kernel's header of this machine says what the interface is.
func TestUAPI(t *testing.T) {
	rows := []struct {
		c    string
		ours uint64
	}{
		{"BTRFS_IOC_INO_LOOKUP", iocInoLookup},
		{"BTRFS_IOC_TREE_SEARCH_V2", iocTreeSearchV2},
		{"BTRFS_IOC_SYNC", iocSync},
		{"BTRFS_IOC_START_SYNC", iocStartSync},
		{"BTRFS_IOC_SNAP_CREATE_V2", iocSnapCreateV2},
		{"BTRFS_IOC_SUBVOL_CREATE_V2", iocSubvolCreate},
		{"BTRFS_IOC_DEFAULT_SUBVOL", iocDefaultSubvol},
		{"BTRFS_IOC_GET_SUBVOL_INFO", iocGetSubvolInfo},
		{"BTRFS_IOC_SNAP_DESTROY_V2", iocSnapDestroyV2},
		{"BTRFS_IOC_DEVICES_READY", iocDevicesReady},
		{"BTRFS_ROOT_TREE_OBJECTID", rootTreeID},
		{"BTRFS_ROOT_TREE_DIR_OBJECTID", rootTreeDirID},
		{"BTRFS_FIRST_FREE_OBJECTID", firstFreeID},
		{"BTRFS_LAST_FREE_OBJECTID", lastFreeID},
		{"BTRFS_ORPHAN_OBJECTID", orphanObjectID},
		{"BTRFS_UUID_TREE_OBJECTID", uuidTreeID},
		{"BTRFS_INODE_ITEM_KEY", keyInodeItem},
		{"BTRFS_INODE_REF_KEY", keyInodeRef},
		{"BTRFS_INODE_EXTREF_KEY", keyInodeExtref},
		{"BTRFS_XATTR_ITEM_KEY", keyXattrItem},
		{"BTRFS_ORPHAN_ITEM_KEY", keyOrphanItem},
		{"BTRFS_DIR_ITEM_KEY", keyDirItem},
		{"BTRFS_DIR_INDEX_KEY", keyDirIndex},
		{"BTRFS_EXTENT_DATA_KEY", keyExtentData},
		{"BTRFS_ROOT_ITEM_KEY", keyRootItem},
		{"BTRFS_ROOT_BACKREF_KEY", keyRootBackref},
		{"BTRFS_UUID_KEY_SUBVOL", keyUUIDSubvol},
		{"BTRFS_SUBVOL_RDONLY", subvolReadOnly},
		{"BTRFS_SUBVOL_SPEC_BY_ID", subvolSpecByID},
		{"BTRFS_ROOT_SUBVOL_RDONLY", rootFlagReadOnly},
		{"BTRFS_FT_DIR", typeDirectory},
		{"BTRFS_FILE_EXTENT_INLINE", extentInline},
		{"BTRFS_FILE_EXTENT_REG", extentRegular},
		{"BTRFS_FILE_EXTENT_PREALLOC", extentPrealloc},
		{"BTRFS_SUBVOL_NAME_MAX", 4039},
		{"sizeof(struct btrfs_ioctl_vol_args_v2)", uint64(unsafe.Sizeof(volArgsV2{}))},
		{"offsetof(struct btrfs_ioctl_vol_args_v2, flags)", uint64(unsafe.Offsetof(volArgsV2{}.Flags))},
		{"offsetof(struct btrfs_ioctl_vol_args_v2, name)", uint64(unsafe.Offsetof(volArgsV2{}.Name))},
		{"offsetof(struct btrfs_ioctl_vol_args_v2, subvolid)", uint64(unsafe.Offsetof(volArgsV2{}.Name))},
		{"sizeof(struct btrfs_ioctl_vol_args)", uint64(unsafe.Sizeof(volArgs{}))},
		{"offsetof(struct btrfs_ioctl_vol_args, name)", uint64(unsafe.Offsetof(volArgs{}.Name))},
		{"sizeof(struct btrfs_ioctl_ino_lookup_args)", uint64(unsafe.Sizeof(inoLookupArgs{}))},
		{"offsetof(struct btrfs_ioctl_ino_lookup_args, name)", uint64(unsafe.Offsetof(inoLookupArgs{}.Name))},
		{"sizeof(struct btrfs_ioctl_search_key)", uint64(unsafe.Sizeof(searchKey{}))},
		{"offsetof(struct btrfs_ioctl_search_key, max_transid)", uint64(unsafe.Offsetof(searchKey{}.MaxTransid))},
		{"offsetof(struct btrfs_ioctl_search_key, nr_items)", uint64(unsafe.Offsetof(searchKey{}.NrItems))},
		{"offsetof(struct btrfs_ioctl_search_args_v2, buf)", uint64(unsafe.Offsetof(searchArgsV2{}.Buf))},
		{"sizeof(struct btrfs_ioctl_search_header)", itemHeaderSize},
		{"sizeof(struct btrfs_ioctl_get_subvol_info_args)", uint64(unsafe.Sizeof(subvolInfoArgs{}))},
		{"offsetof(struct btrfs_ioctl_get_subvol_info_args, flags)", uint64(unsafe.Offsetof(subvolInfoArgs{}.Flags))},
		{"offsetof(struct btrfs_ioctl_get_subvol_info_args, ctransid)", uint64(unsafe.Offsetof(subvolInfoArgs{}.Ctransid))},
		{"offsetof(struct btrfs_ioctl_get_subvol_info_args, otime)", uint64(unsafe.Offsetof(subvolInfoArgs{}.Otime))},
		{"offsetof(struct btrfs_root_item, generation)", rootItemGeneration},
		{"offsetof(struct btrfs_root_item, flags)", rootItemFlags},
		{"offsetof(struct btrfs_root_item, generation_v2)", rootItemGeneration2},
		{"offsetof(struct btrfs_root_item, uuid)", rootItemUUID},
		{"offsetof(struct btrfs_root_item, parent_uuid)", rootItemParentUUID},
		{"offsetof(struct btrfs_root_item, ctransid)", rootItemCtransid},
		{"offsetof(struct btrfs_root_item, otransid)", rootItemOtransid},
		{"offsetof(struct btrfs_root_item, ctime)", rootItemCtime},
		{"offsetof(struct btrfs_root_item, otime)", rootItemOtime},
		{"offsetof(struct btrfs_root_item, stime)", rootItemMinimum},
		{"sizeof(struct btrfs_root_ref)", 18},
		{"sizeof(struct btrfs_dir_item)", 30},
		{"sizeof(struct btrfs_file_extent_item)", 53},
		{"offsetof(struct btrfs_file_extent_item, type)", 20},
		{"offsetof(struct btrfs_file_extent_item, disk_bytenr)", 21},
		{"offsetof(struct btrfs_file_extent_item, disk_num_bytes)", 29},
		{"offsetof(struct btrfs_file_extent_item, ram_bytes)", 8},
		{"offsetof(struct btrfs_file_extent_item, compression)", 16},
		{"offsetof(struct btrfs_file_extent_item, offset)", 37},
		{"offsetof(struct btrfs_file_extent_item, num_bytes)", 45},
		{"sizeof(struct btrfs_inode_item)", inodeItemSize},
		{"offsetof(struct btrfs_inode_item, generation)", inodeItemGeneration},
		{"offsetof(struct btrfs_inode_item, transid)", inodeItemTransid},
		{"offsetof(struct btrfs_inode_item, size)", inodeItemBytes},
		{"offsetof(struct btrfs_inode_item, nlink)", inodeItemLinks},
		{"offsetof(struct btrfs_inode_item, uid)", inodeItemUID},
		{"offsetof(struct btrfs_inode_item, gid)", inodeItemGID},
		{"offsetof(struct btrfs_inode_item, mode)", inodeItemMode},
		{"offsetof(struct btrfs_inode_item, rdev)", inodeItemRdev},
		{"offsetof(struct btrfs_inode_item, flags)", inodeItemFlags},
		{"offsetof(struct btrfs_inode_item, ctime)", inodeItemCtime},
		{"offsetof(struct btrfs_inode_item, mtime)", inodeItemMtime},
		{"sizeof(struct btrfs_inode_ref)", 10},
		{"offsetof(struct btrfs_inode_extref, name)", 18},
	}
	var program strings.Builder
	program.WriteString("#include <stddef.h>\n#include <stdio.h>\n#include <linux/btrfs.h>\n#include <linux/btrfs_tree.h>\nint main(void) {\n")
	for _, row := range rows {
		fmt.Fprintf(&program, "printf(\"%%llu\\n\", (unsigned long long)(%s));\n", row.c)
	}
	program.WriteString("return 0; }\n")
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "uapi.c"), []byte(program.String()), 0o600))
	btrfstest.Run(t, "gcc", "-o", filepath.Join(dir, "uapi"), filepath.Join(dir, "uapi.c"))
	answers := strings.Fields(btrfstest.Run(t, filepath.Join(dir, "uapi")))
	if len(answers) != len(rows) {
		t.Fatalf("%d answers to %d questions", len(answers), len(rows))
	}
	for i, row := range rows {
		if answers[i] != fmt.Sprint(row.ours) {
			t.Errorf("%s is %s, here %d", row.c, answers[i], row.ours)
		}
	}
}
