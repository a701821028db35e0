/** Structures of VHD images (Microsoft's Virtual Hard Disk Image Format Specification 1.0). Big endian. */
import { struct } from '../../../../../abi/layout.ts';

export const SECTOR = 512;
export const FOOTER_COOKIE = 'conectix';
export const HEADER_COOKIE = 'cxsparse';
export const VHD_TYPE = { fixed: 2, dynamic: 3, differencing: 4 } as const;
/** Seconds from 1970 to VHD's epoch, 2000. */
export const VHD_EPOCH = 946_684_800;
export const BAT_UNUSED = 0xffff_ffff;
export const LOCATORS = 8;

/** Packed as the C ABI lays it out; 512 bytes with what is reserved. */
export const VhdFooter = struct('vhd_footer', [
  ['cookie', 'u8', 8],
  ['features', 'u32'],
  ['version', 'u32'],
  ['data_offset', 'u64'],
  ['timestamp', 'u32'],
  ['creator_app', 'u8', 4],
  ['creator_version', 'u32'],
  ['creator_os', 'u32'],
  ['original_size', 'u64'],
  ['current_size', 'u64'],
  ['cylinders', 'u16'],
  ['heads', 'u8'],
  ['sectors', 'u8'],
  ['type', 'u32'],
  ['checksum', 'u32'],
  ['uuid', 'u8', 16],
  ['saved_state', 'u8'],
  ['reserved', 'u8', 427],
]);

export const VhdLocator = struct('vhd_locator', [
  ['platform', 'u32'],
  ['space', 'u32'],
  ['length', 'u32'],
  ['reserved', 'u32'],
  ['offset', 'u64'],
]);

/** 1024 bytes. */
export const VhdHeader = struct('vhd_header', [
  ['cookie', 'u8', 8],
  ['data_offset', 'u64'],
  ['table_offset', 'u64'],
  ['version', 'u32'],
  ['max_table_entries', 'u32'],
  ['block_size', 'u32'],
  ['checksum', 'u32'],
  ['parent_uuid', 'u8', 16],
  ['parent_timestamp', 'u32'],
  ['reserved', 'u32'],
  ['parent_name', 'u8', 512],
  ['locators', VhdLocator, LOCATORS],
  ['reserved2', 'u8', 256],
]);

/** Platform codes of locators that are understood: relative and absolute names for Windows, UTF-16LE. */
export const PLATFORM = { W2ru: 0x5732_7275, W2ku: 0x5732_6b75 } as const;

/** One's complement of the sum of all bytes but the checksum's own. */
export function checksum(bytes: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) if (i < at || i >= at + 4) sum += bytes[i];
  return ~sum >>> 0;
}

/** Cylinders, heads and sectors for a disk of so many sectors (the specification's appendix). */
export function geometry(total: number): { cylinders: number; heads: number; sectors: number } {
  const n = Math.min(total, 65_535 * 16 * 255);
  if (n >= 65_535 * 16 * 63) return { cylinders: Math.floor(n / (16 * 255)), heads: 16, sectors: 255 };
  let sectors = 17;
  let cylinderHeads = Math.floor(n / sectors);
  let heads = Math.max(4, Math.floor((cylinderHeads + 1023) / 1024));
  if (cylinderHeads >= heads * 1024 || heads > 16) {
    sectors = 31;
    heads = 16;
    cylinderHeads = Math.floor(n / sectors);
  }
  if (cylinderHeads >= heads * 1024) {
    sectors = 63;
    heads = 16;
    cylinderHeads = Math.floor(n / sectors);
  }
  return { cylinders: Math.floor(cylinderHeads / heads), heads, sectors };
}
