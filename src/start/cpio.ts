/**
 * Writes `newc` cpio archives, what Linux unpacks as initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */

export interface CpioEntry {
  /** Without a leading slash. Folders come before what is in them. */
  readonly name: string;
  /** File type and permissions, as in `st_mode`. */
  readonly mode: number;
  /** A file's content, a symbolic link's target. */
  readonly data?: Uint8Array;
  /** Of a device node: major and minor number. */
  readonly device?: readonly [number, number];
}

export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;

const MAX_FILE = 0xffff_ffff;

/** `newc` pads names and data to four bytes. */
const padding = (length: number) => -length & 3;
const hex = (n: number) => n.toString(16).toUpperCase().padStart(8, '0');

function header(entry: CpioEntry, ino: number): string {
  const size = entry.data?.length ?? 0;
  if (size > MAX_FILE) throw new RangeError(`${entry.name}: too large for a cpio archive`);
  const nlink = (entry.mode & 0o170000) === S_IFDIR ? 2 : 1;
  const [major, minor] = entry.device ?? [0, 0];
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [
    ino,
    entry.mode,
    0,
    0,
    nlink,
    0,
    size,
    0,
    0,
    major,
    minor,
    new TextEncoder().encode(entry.name).length + 1,
    0,
  ];
  return `070701${fields.map(hex).join('')}`;
}

/** The archive, ended by its trailer and padded to 512 bytes. The same entries give the same bytes: owner root, time 0. */
export function cpio(entries: readonly CpioEntry[]): Uint8Array {
  const encoder = new TextEncoder();
  const pieces: Uint8Array[] = [];
  let at = 0;
  const put = (bytes: Uint8Array, pad: number) => {
    pieces.push(bytes, new Uint8Array(pad));
    at += bytes.length + pad;
  };
  const all = [...entries, { name: 'TRAILER!!!', mode: 0 }];
  for (const [i, entry] of all.entries()) {
    const head = encoder.encode(`${header(entry, i + 1)}${entry.name}\0`);
    put(head, padding(head.length));
    if (entry.data) put(entry.data, padding(entry.data.length));
  }
  const archive = new Uint8Array(Math.ceil(at / 512) * 512);
  let to = 0;
  for (const piece of pieces) {
    archive.set(piece, to);
    to += piece.length;
  }
  return archive;
}
