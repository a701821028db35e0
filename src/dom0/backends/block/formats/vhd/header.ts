/** Footer and header of a VHD image, checked: everything in them may be hostile. */
import type { HostFile } from '../../host-file.ts';
import { ImageError } from '../../image.ts';
import {
  checksum,
  FOOTER_COOKIE,
  HEADER_COOKIE,
  LOCATORS,
  PLATFORM,
  SECTOR,
  VHD_TYPE,
  VhdFooter,
  VhdHeader,
  VhdLocator,
} from './layout.ts';

/** Guest sizes up to VHD's own limit, 2040 GiB. */
const MAX_SIZE = 2040 * 2 ** 30;
const MAX_BLOCK = 256 << 20;

export interface Footer {
  readonly bytes: Buffer;
  readonly type: number;
  readonly size: number;
  readonly uuid: string;
  readonly dataOffset: number;
}

export interface Header {
  readonly tableOffset: number;
  readonly entries: number;
  readonly blockSize: number;
  /** Where blocks may begin: behind header, table and locators. */
  readonly end: number;
  readonly parentUuid: string;
  /** Names that the parent may have, the most promising first. */
  readonly parentNames: readonly string[];
}

export function readFooter(file: HostFile): Footer {
  const { off } = VhdFooter;
  const candidates = [file.size - SECTOR, 0, file.size - SECTOR + 1].filter((at) => at >= 0);
  // Sparse images have a copy in front; very old ones lack the last byte.
  const bytes = candidates
    .map((at) => file.bytes(at, SECTOR))
    .find((b) => b.toString('latin1', 0, 8) === FOOTER_COOKIE);
  const bad = (what: string): never => {
    throw new ImageError(`${file.path}: ${what}`);
  };
  if (!bytes) return bad('this is no VHD image');
  if (checksum(bytes, off.checksum) !== bytes.readUInt32BE(off.checksum)) bad('the footer’s checksum is wrong');
  if (bytes.readUInt32BE(off.version) >>> 16 !== 1) bad('an unknown version of VHD');
  const type = bytes.readUInt32BE(off.type);
  if (!Object.values(VHD_TYPE).includes(type as 2)) bad(`a VHD image of type ${type}`);
  const size = bytes.readBigUInt64BE(off.current_size);
  if (size > BigInt(MAX_SIZE)) bad(`a virtual size of ${size} bytes`);
  const dataOffset = bytes.readBigUInt64BE(off.data_offset);
  if (type !== VHD_TYPE.fixed && dataOffset + BigInt(VhdHeader.size) > BigInt(file.size)) bad('its header is nowhere');
  return {
    bytes,
    type,
    size: Math.floor(Number(size) / SECTOR) * SECTOR,
    uuid: bytes.toString('hex', off.uuid, off.uuid + 16),
    dataOffset: type === VHD_TYPE.fixed ? 0 : Number(dataOffset),
  };
}

export function readHeader(file: HostFile, footer: Footer): Header {
  const { off } = VhdHeader;
  const bytes = file.bytes(footer.dataOffset, VhdHeader.size);
  const bad = (what: string): never => {
    throw new ImageError(`${file.path}: ${what}`);
  };
  if (bytes.toString('latin1', 0, 8) !== HEADER_COOKIE) bad('its header is not where the footer says');
  if (checksum(bytes, off.checksum) !== bytes.readUInt32BE(off.checksum)) bad('the header’s checksum is wrong');
  const blockSize = bytes.readUInt32BE(off.block_size);
  if (blockSize < 4096 || blockSize > MAX_BLOCK || blockSize & (blockSize - 1)) bad(`blocks of ${blockSize} bytes`);
  const entries = bytes.readUInt32BE(off.max_table_entries);
  if (entries < Math.ceil(footer.size / blockSize))
    bad(`a table of ${entries} blocks is too small for ${footer.size} bytes`);
  const tableOffset = bytes.readBigUInt64BE(off.table_offset);
  if (tableOffset % BigInt(SECTOR) !== 0n || tableOffset + BigInt(entries) * 4n > BigInt(file.size)) {
    bad('its block table is nowhere in the file');
  }
  const parent = footer.type === VHD_TYPE.differencing ? parentNames(file, bytes) : { names: [], end: 0 };
  const tableEnd = Number(tableOffset) + Math.ceil((entries * 4) / SECTOR) * SECTOR;
  return {
    end: Math.max(tableEnd, footer.dataOffset + VhdHeader.size, Math.ceil(parent.end / SECTOR) * SECTOR),
    tableOffset: Number(tableOffset),
    entries,
    blockSize,
    parentUuid: bytes.toString('hex', off.parent_uuid, off.parent_uuid + 16),
    parentNames: parent.names,
  };
}

const path = (name: string): string => name.replace(/\0.*$/s, '').replaceAll('\\', '/');

/** Names of the parent, and where the last locator's data ends. */
function parentNames(file: HostFile, bytes: Buffer): { names: string[]; end: number } {
  const byPlatform = new Map<number, string>();
  let end = 0;
  for (let i = 0; i < LOCATORS; i++) {
    const at = VhdHeader.off.locators + i * VhdLocator.size;
    const length = bytes.readUInt32BE(at + VhdLocator.off.length);
    const offset = bytes.readBigUInt64BE(at + VhdLocator.off.offset);
    if (length === 0 || length > 4096 || offset > BigInt(file.size)) continue;
    end = Math.max(end, Number(offset) + length);
    const text = file.bytes(Number(offset), length & ~1).toString('utf16le');
    byPlatform.set(bytes.readUInt32BE(at + VhdLocator.off.platform), path(text));
  }
  const name = Buffer.from(bytes.subarray(VhdHeader.off.parent_name, VhdHeader.off.parent_name + 512)).swap16();
  const names = [byPlatform.get(PLATFORM.W2ru), byPlatform.get(PLATFORM.W2ku), path(name.toString('utf16le'))];
  return { names: names.filter((n) => n !== undefined && n !== '') as string[], end };
}
