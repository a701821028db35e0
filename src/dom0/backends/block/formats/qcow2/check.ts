/**
 * Compares a qcow2 image's refcounts with the references there are, when it is opened for writing: leaks, which a crash may
 * have left, are given back; counts that are too low are repaired if the image says itself that they may be (its dirty
 * bit), and are an error otherwise.
 */
import type { HostFile } from '../../host-file.ts';
import { ImageError } from '../../image.ts';
import type { Header } from './header.ts';
import type { Refcounts } from './refcounts.ts';
import type { Tables } from './tables.ts';

/** Clusters of a file that can be checked: 8 TiB of the usual 64 KiB. */
const MAX_CLUSTERS = 2 ** 27;

/** Throws ImageError for an image that cannot be written to safely. Claims the L2 tables. */
export function checkRefcounts(
  file: HostFile,
  header: Header,
  tables: Tables,
  refcounts: Refcounts,
  metadata: ReadonlySet<number>,
): void {
  const cluster = 2 ** header.clusterBits;
  for (let i = 0; i < tables.l1Size; i++) {
    const offset = tables.l2Offset(i);
    if (offset !== 0) refcounts.claim(offset / cluster, `L2 table ${i}`);
  }
  // With snapshots there are references that we do not follow: QEMU's tools look after such images.
  if (header.snapshots > 0) return;
  const clusters = Math.ceil(file.size / cluster);
  if (clusters > MAX_CLUSTERS) throw new ImageError(`${file.path}: ${clusters} clusters are too many to be checked`);
  const found = new Uint16Array(clusters);
  const count = (c: number) => {
    if (c >= clusters) throw new ImageError(`${file.path}: cluster ${c} lies beyond the end of the file`);
    found[c]++;
  };
  for (const c of metadata) count(c);
  for (let i = 0; i < tables.l1Size; i++) {
    const offset = tables.l2Offset(i);
    if (offset === 0) continue;
    const table = file.bytes(offset, cluster);
    for (let e = 0; e < tables.perL2; e++) {
      const entry = tables.decode(table, e);
      if (entry.kind === 'compressed') {
        const last = Math.floor((entry.host + entry.length - 1) / cluster);
        for (let c = Math.floor(entry.host / cluster); c <= last; c++) count(c);
      } else if (entry.kind !== 'unallocated' && entry.host !== 0) count(entry.host / cluster);
    }
  }
  repair(file, header, refcounts, found);
}

function repair(file: HostFile, header: Header, refcounts: Refcounts, found: Uint16Array): void {
  const low: number[] = [];
  for (let c = 0; c < found.length; c++) {
    if (found[c] === 0) continue;
    const counted = refcounts.get(c);
    if (counted >= found[c]) continue;
    if (!header.dirty) {
      throw new ImageError(
        `${file.path}: cluster ${c} is used ${found[c]} times but counted ${counted}: the image is damaged; qemu-img check -r all may repair it`,
      );
    }
    low.push(c);
  }
  // Counts that are too low first: a cluster must not look free while it is not.
  for (const c of low) refcounts.set(c, 1, found[c]);
  if (low.length > 0) file.flush();
  // What others keep in the image (bitmaps) is referred to from where we do not look.
  if (header.hasAutoclear || header.hasExtensions) return;
  const leaks = [...refcounts.counted()].filter(([c, n]) => n > (found[c] ?? 0));
  for (const [c] of leaks) refcounts.set(c, 1, found[c] ?? 0);
}
