/** Makes an empty VHD image. */
import { randomBytes } from 'node:crypto';
import { HostFile } from '../../host-file.ts';
import { ImageError } from '../../image.ts';
import { readFooter } from './header.ts';
import {
  BAT_UNUSED,
  checksum,
  FOOTER_COOKIE,
  geometry,
  HEADER_COOKIE,
  PLATFORM,
  SECTOR,
  VHD_EPOCH,
  VHD_TYPE,
  VhdFooter,
  VhdHeader,
  VhdLocator,
} from './layout.ts';

export interface CreateOptions {
  /** Bytes that the guest sees, a multiple of 512. Of a differencing image: its parent's. */
  readonly size: number;
  readonly type?: 'fixed' | 'dynamic';
  /** Makes a differencing image. `name`: relative to the new image's folder; `path`: to read its UUID now. */
  readonly parent?: { readonly name: string; readonly path: string };
}

const BLOCK = 2 << 20;
const HEADER_AT = SECTOR;
const TABLE_AT = HEADER_AT + VhdHeader.size;
/** Reserved bits: the one that is always set. */
const FEATURES = 2;
const VERSION = 0x1_0000;
/** Xen's blktap: readers that know it take the size as it stands, not as cylinders, heads and sectors round it. */
const CREATOR = 'tap\0';

/** The file must not exist. When this returns the image is on the disk. Throws ImageError. */
export function createVhd(path: string, options: CreateOptions): void {
  const { size, parent } = options;
  const type = parent ? VHD_TYPE.differencing : VHD_TYPE[options.type ?? 'dynamic'];
  if (!Number.isSafeInteger(size) || size <= 0 || size % SECTOR !== 0 || size > 2040 * 2 ** 30) {
    throw new ImageError(`${path}: a size of ${size} bytes: a multiple of 512 up to 2040 GiB is possible`);
  }
  const footer = makeFooter(type, size);
  const file = new HostFile(path, { readOnly: false, create: true });
  try {
    if (type === VHD_TYPE.fixed) file.write(size, [footer]);
    else {
      const entries = Math.ceil(size / BLOCK);
      const tableEnd = TABLE_AT + Math.ceil((entries * 4) / SECTOR) * SECTOR;
      const locator = parent && Buffer.from(parent.name.replaceAll('/', '\\'), 'utf16le');
      const locatorBytes = locator ? Math.ceil(locator.length / SECTOR) * SECTOR : 0;
      const header = makeHeader(entries);
      if (parent && locator) writeParent(header, parent, locator, tableEnd, locatorBytes);
      header.writeUInt32BE(checksum(header, VhdHeader.off.checksum), VhdHeader.off.checksum);
      file.write(0, [footer, header, Buffer.alloc(tableEnd - TABLE_AT, BAT_UNUSED & 0xff)]);
      if (locator) file.write(tableEnd, [locator]);
      file.write(tableEnd + locatorBytes, [footer]);
    }
    file.flush();
  } finally {
    file.close();
  }
}

function makeFooter(type: number, size: number): Buffer {
  const { off } = VhdFooter;
  const f = Buffer.alloc(SECTOR);
  f.write(FOOTER_COOKIE, off.cookie, 'latin1');
  f.writeUInt32BE(FEATURES, off.features);
  f.writeUInt32BE(VERSION, off.version);
  f.writeBigUInt64BE(type === VHD_TYPE.fixed ? 2n ** 64n - 1n : BigInt(HEADER_AT), off.data_offset);
  f.writeUInt32BE(Math.floor(Date.now() / 1000) - VHD_EPOCH, off.timestamp);
  f.write(CREATOR, off.creator_app, 'latin1');
  f.writeUInt32BE(VERSION, off.creator_version);
  f.writeBigUInt64BE(BigInt(size), off.original_size);
  f.writeBigUInt64BE(BigInt(size), off.current_size);
  const { cylinders, heads, sectors } = geometry(size / SECTOR);
  f.writeUInt16BE(cylinders, off.cylinders);
  f.writeUInt8(heads, off.heads);
  f.writeUInt8(sectors, off.sectors);
  f.writeUInt32BE(type, off.type);
  randomBytes(16).copy(f, off.uuid);
  f.writeUInt32BE(checksum(f, off.checksum), off.checksum);
  return f;
}

function makeHeader(entries: number): Buffer {
  const { off } = VhdHeader;
  const h = Buffer.alloc(VhdHeader.size);
  h.write(HEADER_COOKIE, off.cookie, 'latin1');
  h.writeBigUInt64BE(2n ** 64n - 1n, off.data_offset);
  h.writeBigUInt64BE(BigInt(TABLE_AT), off.table_offset);
  h.writeUInt32BE(VERSION, off.version);
  h.writeUInt32BE(entries, off.max_table_entries);
  h.writeUInt32BE(BLOCK, off.block_size);
  return h;
}

function writeParent(
  h: Buffer,
  parent: { readonly name: string; readonly path: string },
  locator: Buffer,
  at: number,
  space: number,
): void {
  const { off } = VhdHeader;
  const file = new HostFile(parent.path, { readOnly: true });
  try {
    Buffer.from(readFooter(file).uuid, 'hex').copy(h, off.parent_uuid);
  } finally {
    file.close();
  }
  const name = Buffer.from(parent.name.replace(/.*\//, ''), 'utf16le').swap16();
  if (name.length > 512) throw new ImageError(`${parent.name}: the parent’s name is too long`);
  name.copy(h, off.parent_name);
  h.writeUInt32BE(PLATFORM.W2ru, off.locators + VhdLocator.off.platform);
  h.writeUInt32BE(space, off.locators + VhdLocator.off.space);
  h.writeUInt32BE(locator.length, off.locators + VhdLocator.off.length);
  h.writeBigUInt64BE(BigInt(at), off.locators + VhdLocator.off.offset);
}
