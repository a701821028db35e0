/** grant_table_op and grant entries (public/grant_table.h). */
import { struct } from './layout.ts';

export const GrantEntryV1 = struct('grant_entry_v1', [
  ['flags', 'u16'],
  ['domid', 'u16'],
  ['frame', 'u32'],
]);

/** Version 2, all three kinds: full_page and sub_page (frame), transitive (trans_domid at +4, gref at +8). */
export const GrantEntryV2 = struct('grant_entry_v2', [
  ['flags', 'u16'],
  ['domid', 'u16'],
  ['page_off', 'u16'],
  ['length', 'u16'],
  ['frame', 'u64'],
]);
export const GrantEntryV2Transitive = struct('grant_entry_v2_transitive', [
  ['flags', 'u16'],
  ['domid', 'u16'],
  ['trans_domid', 'u16'],
  ['pad0', 'u16'],
  ['gref', 'u32'],
  ['pad1', 'u32'],
]);

export const GNTTAB_NR_RESERVED_ENTRIES = 8;
/** Entries that the domain builder fills in. */
export const GNTTAB_RESERVED = { CONSOLE: 0, XENSTORE: 1 } as const;

/** Entry flags: bits 0-1 the type. */
export const GTF = {
  invalid: 0,
  permit_access: 1,
  accept_transfer: 2,
  transitive: 3,
  type_mask: 3,
  readonly: 1 << 2,
  reading: 1 << 3,
  writing: 1 << 4,
  PWT: 1 << 5,
  PCD: 1 << 6,
  PAT: 1 << 7,
  sub_page: 1 << 8,
  /** Of an entry of type accept_transfer. */
  transfer_committed: 1 << 2,
  transfer_completed: 1 << 3,
} as const;

export const GNTTABOP = {
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  setup_table: 2,
  dump_table: 3,
  transfer: 4,
  copy: 5,
  query_size: 6,
  unmap_and_replace: 7,
  set_version: 8,
  get_status_frames: 9,
  get_version: 10,
  swap_grant_ref: 11,
  cache_flush: 12,
} as const;

export const GnttabMapGrantRef = struct('gnttab_map_grant_ref', [
  ['host_addr', 'u64'],
  ['flags', 'u32'],
  ['ref', 'u32'],
  ['dom', 'u16'],
  ['status', 'i16'],
  ['handle', 'u32'],
  ['dev_bus_addr', 'u64'],
]);

export const GnttabUnmapGrantRef = struct('gnttab_unmap_grant_ref', [
  ['host_addr', 'u64'],
  ['dev_bus_addr', 'u64'],
  ['handle', 'u32'],
  ['status', 'i16'],
]);

export const GnttabSetupTable = struct('gnttab_setup_table', [
  ['dom', 'u16'],
  ['nr_frames', 'u32'],
  ['status', 'i16'],
  ['frame_list', 'u64'],
]);

export const GnttabDumpTable = struct('gnttab_dump_table', [
  ['dom', 'u16'],
  ['status', 'i16'],
]);

export const GnttabTransfer = struct('gnttab_transfer', [
  ['mfn', 'u64'],
  ['domid', 'u16'],
  ['ref', 'u32'],
  ['status', 'i16'],
]);

/** u: grant reference (4 bytes) or frame, by gnttab_copy.flags. */
export const GnttabCopyPtr = struct('gnttab_copy_ptr', [
  ['u', 'u64'],
  ['domid', 'u16'],
  ['offset', 'u16'],
]);
export const GnttabCopy = struct('gnttab_copy', [
  ['source', GnttabCopyPtr],
  ['dest', GnttabCopyPtr],
  ['len', 'u16'],
  ['flags', 'u16'],
  ['status', 'i16'],
]);
export const GNTCOPY = { source_gref: 1 << 0, dest_gref: 1 << 1 } as const;

export const GnttabQuerySize = struct('gnttab_query_size', [
  ['dom', 'u16'],
  ['nr_frames', 'u32'],
  ['max_nr_frames', 'u32'],
  ['status', 'i16'],
]);

export const GnttabUnmapAndReplace = struct('gnttab_unmap_and_replace', [
  ['host_addr', 'u64'],
  ['new_addr', 'u64'],
  ['handle', 'u32'],
  ['status', 'i16'],
]);

export const GnttabSetVersion = struct('gnttab_set_version', [['version', 'u32']]);

export const GnttabGetStatusFrames = struct('gnttab_get_status_frames', [
  ['nr_frames', 'u32'],
  ['dom', 'u16'],
  ['status', 'i16'],
  ['frame_list', 'u64'],
]);

export const GnttabGetVersion = struct('gnttab_get_version', [
  ['dom', 'u16'],
  ['pad', 'u16'],
  ['version', 'u32'],
]);

export const GnttabSwapGrantRef = struct('gnttab_swap_grant_ref', [
  ['ref_a', 'u32'],
  ['ref_b', 'u32'],
  ['status', 'i16'],
]);

export const GnttabCacheFlush = struct('gnttab_cache_flush', [
  ['a', 'u64'],
  ['offset', 'u16'],
  ['length', 'u16'],
  ['op', 'u32'],
]);

export const GNTMAP = {
  device_map: 1 << 0,
  host_map: 1 << 1,
  readonly: 1 << 2,
  application_map: 1 << 3,
  contains_pte: 1 << 4,
  guest_avail_mask: 0xffff_0000,
} as const;

/** Status of each operation. */
export const GNTST = {
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  no_space: -13,
} as const;
