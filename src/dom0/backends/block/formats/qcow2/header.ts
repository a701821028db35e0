/** The header of a qcow2 image (QEMU's docs/interop/qcow2.txt), checked: everything in it may be hostile. Big endian. */
import { struct } from '../../../../../abi/layout.ts';
import type { HostFile } from '../../host-file.ts';
import { ImageError } from '../../image.ts';

export const QCOW2_MAGIC = 0x5146_49fb;

/** Packed in the file just as the C ABI lays it out. */
export const Qcow2Header = struct('qcow2_header', [
  ['magic', 'u32'],
  ['version', 'u32'],
  ['backing_file_offset', 'u64'],
  ['backing_file_size', 'u32'],
  ['cluster_bits', 'u32'],
  ['size', 'u64'],
  ['crypt_method', 'u32'],
  ['l1_size', 'u32'],
  ['l1_table_offset', 'u64'],
  ['refcount_table_offset', 'u64'],
  ['refcount_table_clusters', 'u32'],
  ['nb_snapshots', 'u32'],
  ['snapshots_offset', 'u64'],
  // Version 3 only.
  ['incompatible_features', 'u64'],
  ['compatible_features', 'u64'],
  ['autoclear_features', 'u64'],
  ['refcount_order', 'u32'],
  ['header_length', 'u32'],
  ['compression_type', 'u8'],
  ['padding', 'u8', 7],
]);
export const V2_LENGTH = 72;
export const V3_LENGTH = 104;

/** Incompatible features. */
export const DIRTY = 1n << 0n;
export const CORRUPT = 1n << 1n;
const DATA_FILE = 1n << 2n;
const COMPRESSION = 1n << 3n;
const EXTENDED_L2 = 1n << 4n;

export const EXTENSION = { end: 0, backingFormat: 0xe279_2aca, featureNames: 0x6803_f857 } as const;

const MAX_L1_BYTES = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES = 8 << 20;
const MAX_BACKING_NAME = 1023;
/** Guest size in bytes: offsets stay exact as numbers. */
const MAX_SIZE = 2 ** 52;

export interface Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly size: number;
  readonly l1Size: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** Refcounts have 2^order bits. */
  readonly refcountOrder: number;
  readonly snapshots: number;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly hasAutoclear: boolean;
  /** It has extensions that are not known here, which may refer to clusters. */
  readonly hasExtensions: boolean;
  readonly compression: 'zlib' | 'zstd';
  readonly backing?: { readonly name: string; readonly format: string | undefined };
}

/** Reads the header. Throws ImageError for what we cannot or must not use. */
export function readHeader(file: HostFile): Header {
  const bytes = file.bytes(0, Qcow2Header.size);
  const { off } = Qcow2Header;
  const bad = (what: string): never => {
    throw new ImageError(`${file.path}: ${what}`);
  };
  if (bytes.readUInt32BE(off.magic) !== QCOW2_MAGIC) bad('this is no qcow2 image');
  const version = bytes.readUInt32BE(off.version);
  if (version !== 2 && version !== 3) bad(`qcow2 version ${version}: only 2 and 3 are known`);
  const clusterBits = bytes.readUInt32BE(off.cluster_bits);
  if (clusterBits < 9 || clusterBits > 21) bad(`clusters of 2^${clusterBits} bytes: 2^9 to 2^21 are possible`);
  const cluster = 2 ** clusterBits;
  const big = (name: keyof typeof off): number => {
    const v = bytes.readBigUInt64BE(off[name]);
    return v > BigInt(Number.MAX_SAFE_INTEGER) ? bad(`${name} is 0x${v.toString(16)}, far beyond any file`) : Number(v);
  };
  const size = big('size');
  if (size > MAX_SIZE) bad(`a virtual size of ${size} bytes`);
  if (bytes.readUInt32BE(off.crypt_method) !== 0) bad('encrypted images are not supported');
  const { incompatible, autoclear, refcountOrder, length } = version3(version, bytes, bad);
  const l1Size = bytes.readUInt32BE(off.l1_size);
  const perL2 = cluster * (cluster / 8);
  if (l1Size * 8 > MAX_L1_BYTES) bad(`an L1 table of ${l1Size} entries`);
  if (l1Size < Math.ceil(size / perL2)) bad(`an L1 table of ${l1Size} entries is too small for ${size} bytes`);
  const refcountTableClusters = bytes.readUInt32BE(off.refcount_table_clusters);
  if (refcountTableClusters === 0 || refcountTableClusters * cluster > MAX_REFCOUNT_TABLE_BYTES) {
    bad(`a refcount table of ${refcountTableClusters} clusters`);
  }
  const l1Offset = big('l1_table_offset');
  const refcountTableOffset = big('refcount_table_offset');
  for (const [name, at, n] of [
    ['L1 table', l1Offset, l1Size * 8],
    ['refcount table', refcountTableOffset, refcountTableClusters * cluster],
  ] as const) {
    if (n === 0) continue;
    if (at % cluster !== 0 || at === 0) bad(`the ${name} is not at the start of a cluster`);
    if (at + n > Math.ceil(file.size / cluster) * cluster) bad(`the ${name} lies beyond the end of the file`);
  }
  const first = file.bytes(0, cluster);
  const name = backingName(first, bad);
  const extensions = readExtensions(first, version === 3 ? length : V2_LENGTH, bad);
  return {
    version: version as 2 | 3,
    clusterBits,
    size,
    l1Size,
    l1Offset,
    refcountTableOffset,
    refcountTableClusters,
    refcountOrder,
    snapshots: bytes.readUInt32BE(off.nb_snapshots),
    dirty: (incompatible & DIRTY) !== 0n,
    corrupt: (incompatible & CORRUPT) !== 0n,
    hasAutoclear: autoclear !== 0n,
    compression: length > V3_LENGTH && bytes.readUInt8(off.compression_type) === 1 ? 'zstd' : 'zlib',
    backing: name === undefined ? undefined : { name, format: extensions.format },
    hasExtensions: extensions.others,
  };
}

function version3(version: number, bytes: Buffer, bad: (what: string) => never) {
  const { off } = Qcow2Header;
  if (version === 2) return { incompatible: 0n, autoclear: 0n, refcountOrder: 4, length: V2_LENGTH };
  const incompatible = bytes.readBigUInt64BE(off.incompatible_features);
  if (incompatible & DATA_FILE) bad('images with an external data file are not supported');
  if (incompatible & EXTENDED_L2) bad('images with subclusters (extended L2 entries) are not supported');
  const unknown = incompatible & ~(DIRTY | CORRUPT | COMPRESSION);
  if (unknown) bad(`it needs features that are not known here (0x${unknown.toString(16)})`);
  const refcountOrder = bytes.readUInt32BE(off.refcount_order);
  if (refcountOrder > 6) bad(`refcounts of 2^${refcountOrder} bits`);
  const length = bytes.readUInt32BE(off.header_length);
  if (length < V3_LENGTH || length > 4096 || length % 8 !== 0) bad(`a header of ${length} bytes`);
  if (incompatible & COMPRESSION && bytes.readUInt8(off.compression_type) > 1) bad('an unknown kind of compression');
  return { incompatible, autoclear: bytes.readBigUInt64BE(off.autoclear_features), refcountOrder, length };
}

/** Name of the backing file, as it stands in the header's cluster. */
function backingName(first: Buffer, bad: (what: string) => never): string | undefined {
  const { off } = Qcow2Header;
  const at = first.readBigUInt64BE(off.backing_file_offset);
  if (at === 0n) return undefined;
  const n = first.readUInt32BE(off.backing_file_size);
  if (n === 0 || n > MAX_BACKING_NAME || at + BigInt(n) > BigInt(first.length)) {
    bad('the name of the backing file is nowhere');
  }
  const name = first.toString('utf8', Number(at), Number(at) + n);
  if (name.includes('\0')) bad('the name of the backing file has a zero byte in it');
  return name;
}

/** Extensions follow the header, up to the name of the backing file or the end of the cluster. */
function readExtensions(first: Buffer, start: number, bad: (what: string) => never) {
  const backing = Number(first.readBigUInt64BE(Qcow2Header.off.backing_file_offset));
  const end = backing === 0 ? first.length : backing;
  let format: string | undefined;
  let others = false;
  for (let at = start; at + 8 <= end; ) {
    const type = first.readUInt32BE(at);
    const size = first.readUInt32BE(at + 4);
    if (type === EXTENSION.end) break;
    if (at + 8 + size > end) bad('a header extension is too long');
    if (type === EXTENSION.backingFormat) format = first.toString('latin1', at + 8, at + 8 + size);
    else if (type !== EXTENSION.featureNames) others = true;
    at += 8 + Math.ceil(size / 8) * 8;
  }
  return { format, others };
}
