/** Makes an empty qcow2 image. */
import { HostFile } from '../../host-file.ts';
import { ImageError } from '../../image.ts';
import { EXTENSION, QCOW2_MAGIC, Qcow2Header, V2_LENGTH, V3_LENGTH } from './header.ts';

export interface CreateOptions {
  /** Bytes that the guest sees, a multiple of 512. */
  readonly size: number;
  /** Default 3. */
  readonly version?: 2 | 3;
  /** Default 16: 64 KiB. */
  readonly clusterBits?: number;
  /** As it is to stand in the image: relative names count from the image's folder. */
  readonly backing?: { readonly name: string; readonly format: string };
}

const REFCOUNT_ORDER = 4;

/** The file must not exist. When this returns the image is on the disk. Throws ImageError. */
export function createQcow2(path: string, options: CreateOptions): void {
  const { size, version = 3, clusterBits = 16, backing } = options;
  if (!Number.isSafeInteger(size) || size <= 0 || size % 512 !== 0) {
    throw new ImageError(`${path}: a size of ${size} bytes: it must be a multiple of 512`);
  }
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21) {
    throw new ImageError(`${path}: clusters of 2^${clusterBits} bytes: 2^9 to 2^21 are possible`);
  }
  const cluster = 2 ** clusterBits;
  const l1Size = Math.ceil(size / (cluster * (cluster / 8)));
  const l1Clusters = Math.ceil((l1Size * 8) / cluster);
  // Header, refcount table, refcount block, L1 table.
  const clusters = 3 + l1Clusters;
  if (clusters > (cluster * 8) >> REFCOUNT_ORDER || l1Size * 8 > 32 << 20) {
    throw new ImageError(`${path}: ${size} bytes are too many for clusters of ${cluster}`);
  }
  const image = Buffer.alloc(clusters * cluster);
  const { off } = Qcow2Header;
  image.writeUInt32BE(QCOW2_MAGIC, off.magic);
  image.writeUInt32BE(version, off.version);
  image.writeUInt32BE(clusterBits, off.cluster_bits);
  image.writeBigUInt64BE(BigInt(size), off.size);
  image.writeUInt32BE(l1Size, off.l1_size);
  image.writeBigUInt64BE(BigInt(3 * cluster), off.l1_table_offset);
  image.writeBigUInt64BE(BigInt(cluster), off.refcount_table_offset);
  image.writeUInt32BE(1, off.refcount_table_clusters);
  if (version === 3) {
    image.writeUInt32BE(REFCOUNT_ORDER, off.refcount_order);
    image.writeUInt32BE(V3_LENGTH, off.header_length);
  }
  if (backing) writeBacking(image, version === 3 ? V3_LENGTH : V2_LENGTH, cluster, backing, path);
  image.writeBigUInt64BE(BigInt(2 * cluster), cluster);
  for (let i = 0; i < clusters; i++) image.writeUInt16BE(1, 2 * cluster + i * 2);
  const file = new HostFile(path, { readOnly: false, create: true });
  try {
    file.write(0, [image]);
    file.flush();
  } finally {
    file.close();
  }
}

function writeBacking(
  image: Buffer,
  at: number,
  cluster: number,
  backing: { readonly name: string; readonly format: string },
  path: string,
): void {
  const format = Buffer.from(backing.format, 'latin1');
  const name = Buffer.from(backing.name, 'utf8');
  image.writeUInt32BE(EXTENSION.backingFormat, at);
  image.writeUInt32BE(format.length, at + 4);
  format.copy(image, at + 8);
  const end = at + 8 + Math.ceil(format.length / 8) * 8;
  // An extension of type 0 ends them; the name follows.
  if (end + 8 + name.length > cluster || name.length === 0 || name.length > 1023) {
    throw new ImageError(`${path}: the name of the backing file has ${name.length} bytes; 1 to 1023 are possible`);
  }
  name.copy(image, end + 8);
  image.writeBigUInt64BE(BigInt(end + 8), Qcow2Header.off.backing_file_offset);
  image.writeUInt32BE(name.length, Qcow2Header.off.backing_file_size);
}
