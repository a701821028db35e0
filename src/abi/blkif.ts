/**
 * Split block devices (public/io/blkif.h), 64-bit protocol. Sectors in requests are always units of 512 bytes, as Linux's
 * front and back ends have it, whatever the device's own sector size is.
 */
import { struct } from './layout.ts';

export const BLKIF_OP = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  DISCARD: 5,
  INDIRECT: 6,
} as const;

export const BLKIF_RSP = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const;

export const BLKIF_MAX_SEGMENTS_PER_REQUEST = 11;
export const BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST = 8;
export const BLKIF_SECTOR_SIZE = 512;

/** first_sect and last_sect (inclusive) within the granted frame. */
export const BlkifRequestSegment = struct('blkif_request_segment', [
  ['gref', 'u32'],
  ['first_sect', 'u8'],
  ['last_sect', 'u8'],
]);

export const BlkifRequest = struct('blkif_request', [
  ['operation', 'u8'],
  ['nr_segments', 'u8'],
  ['handle', 'u16'],
  ['id', 'u64'],
  ['sector_number', 'u64'],
  ['seg', BlkifRequestSegment, BLKIF_MAX_SEGMENTS_PER_REQUEST],
]);

export const BlkifRequestDiscard = struct('blkif_request_discard', [
  ['operation', 'u8'],
  ['flag', 'u8'],
  ['handle', 'u16'],
  ['id', 'u64'],
  ['sector_number', 'u64'],
  ['nr_sectors', 'u64'],
]);

export const BlkifRequestIndirect = struct('blkif_request_indirect', [
  ['operation', 'u8'],
  ['indirect_op', 'u8'],
  ['nr_segments', 'u16'],
  ['id', 'u64'],
  ['sector_number', 'u64'],
  ['handle', 'u16'],
  ['indirect_grefs', 'u32', BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST],
]);

export const BlkifResponse = struct('blkif_response', [
  ['id', 'u64'],
  ['operation', 'u8'],
  ['status', 'i16'],
]);

/** Bytes of a ring entry: the larger of request and response. */
export const BLKIF_ENTRY_SIZE = BlkifRequest.size;

/** Bits of the node `info`. */
export const VDISK = { CDROM: 1, REMOVABLE: 2, READONLY: 4 } as const;
