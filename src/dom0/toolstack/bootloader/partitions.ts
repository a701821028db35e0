/**
 * Partition tables: MBR with logical partitions, and GPT (UEFI Specification, chapter 5). A disk without one is a single
 * file system, as disks named xvda1 are in many xl.cfg files.
 */
import { BootError, type ByteSource, slice, viewOf } from './source.ts';

export interface Partition {
  /** As Linux counts: 1 to 4 primary, 5 and up logical; 0: the whole disk. */
  readonly number: number;
  /** Marked bootable (MBR), or with the legacy boot attribute (GPT). */
  readonly active: boolean;
  readonly source: ByteSource;
}

const SECTOR = 512;
const TYPE_EXTENDED: readonly number[] = [0x05, 0x0f, 0x85];
const TYPE_GPT = 0xee;
/** Logical partitions form a list on the disk, which may be endless. */
const MAX_LOGICAL = 60;
const MAX_GPT_ENTRIES = 1024;
const GPT_LEGACY_BOOT = 4n;

interface MbrEntry {
  readonly active: boolean;
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
}

/** The four entries of a boot record, or nothing if it is none. */
function bootRecord(sector: Uint8Array): MbrEntry[] | undefined {
  const view = viewOf(sector);
  if (view.getUint16(510, true) !== 0xaa55) return undefined;
  const entries = [0, 1, 2, 3].map((i) => {
    const at = 446 + i * 16;
    const status = view.getUint8(at);
    return {
      active: status === 0x80,
      type: view.getUint8(at + 4),
      start: view.getUint32(at + 8, true),
      sectors: view.getUint32(at + 12, true),
      sane: status === 0 || status === 0x80,
    };
  });
  // The boot sector of a file system has the signature too, but code where the table would be.
  return entries.every((e) => e.sane) ? entries : undefined;
}

function make(disk: ByteSource, number: number, active: boolean, start: number, sectors: number): Partition[] {
  const [from, size] = [start * SECTOR, sectors * SECTOR];
  // What reaches beyond the end cannot be read; the others can.
  return from + size <= disk.size && size > 0 ? [{ number, active, source: slice(disk, from, size) }] : [];
}

function logical(disk: ByteSource, first: number): Partition[] {
  const found: Partition[] = [];
  let record = first;
  for (let number = 5; number < 5 + MAX_LOGICAL; number++) {
    if ((record + 1) * SECTOR > disk.size) break;
    const entries = bootRecord(disk.read(record * SECTOR, SECTOR));
    if (!entries) break;
    const [own, next] = entries;
    if (own.type) found.push(...make(disk, number, own.active, record + own.start, own.sectors));
    if (!TYPE_EXTENDED.includes(next.type)) break;
    record = first + next.start;
  }
  return found;
}

function gpt(disk: ByteSource): Partition[] {
  const header = disk.read(SECTOR, SECTOR);
  const view = viewOf(header);
  if (new TextDecoder('latin1').decode(header.subarray(0, 8)) !== 'EFI PART') {
    throw new BootError('its partition table is said to be a GPT, but there is none');
  }
  const at = Number(view.getBigUint64(72, true)) * SECTOR;
  const count = view.getUint32(80, true);
  const size = view.getUint32(84, true);
  if (size < 128 || size > 4096 || count > MAX_GPT_ENTRIES) {
    throw new BootError(`its GPT says that it has ${count} entries of ${size} bytes`);
  }
  const table = slice(disk, at, count * size);
  const found: Partition[] = [];
  for (let i = 0; i < count; i++) {
    const entry = viewOf(table.read(i * size, size));
    if (entry.getBigUint64(0, true) === 0n && entry.getBigUint64(8, true) === 0n) continue;
    const [start, end] = [Number(entry.getBigUint64(32, true)), Number(entry.getBigUint64(40, true))];
    const active = (entry.getBigUint64(48, true) & GPT_LEGACY_BOOT) !== 0n;
    found.push(...make(disk, i + 1, active, start, end - start + 1));
  }
  return found;
}

/** The partitions in the order in which to look for something to boot: active ones first; without a table, the disk. */
export function partitions(disk: ByteSource): Partition[] {
  const whole: Partition = { number: 0, active: false, source: disk };
  if (disk.size < 2 * SECTOR) return [whole];
  const entries = bootRecord(disk.read(0, SECTOR));
  const used = entries?.filter((e) => e.type !== 0 && e.sectors !== 0) ?? [];
  if (!entries || used.length === 0) return [whole];
  if (used.some((e) => e.type === TYPE_GPT)) return ordered(gpt(disk));
  const primary = entries.flatMap((e, i) =>
    e.type === 0 || TYPE_EXTENDED.includes(e.type) ? [] : make(disk, i + 1, e.active, e.start, e.sectors),
  );
  const extended = entries.find((e) => TYPE_EXTENDED.includes(e.type));
  return ordered([...primary, ...(extended ? logical(disk, extended.start) : [])]);
}

const ordered = (list: Partition[]) => list.sort((a, b) => Number(b.active) - Number(a.active) || a.number - b.number);
