/**
 * Translated code kept from one host to the next: one file in the cache, `translations`, safe to delete. It begins with a
 * fingerprint of the engine that made it and the CRC-32 of what follows; anything else is no file. It is read and written by
 * its owner alone, since what it holds is run: the sum is against accidents, and each start waits for it.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { SAVED_LIMIT } from '../engine/translator/saved.ts';
import { askForHugePages } from '../machine/huge-pages.ts';
import { engineFingerprint } from '../machine/parts.ts';

/** Fingerprint, at CRC the sum (u32), and so that what follows is aligned, nothing. */
const HEADER = 64;
const CRC = 32;

/** What a host needs of it. */
export interface TranslationStore {
  /** What was kept; empty if nothing was. */
  load(): Uint8Array;
  save(translations: Uint8Array<ArrayBuffer>): Promise<void>;
}

const NOTHING = new Uint8Array();

export class TranslationFile implements TranslationStore {
  readonly path: string;
  private readonly fingerprint: Uint8Array;

  constructor(path: string, fingerprint = engineFingerprint()) {
    this.path = path;
    this.fingerprint = fingerprint;
  }

  /** In shared memory, as each thread wants it. */
  load(): Uint8Array {
    const bytes = this.read();
    if (bytes.length < HEADER || Buffer.compare(bytes.subarray(0, CRC), this.fingerprint) !== 0) return NOTHING;
    const content = bytes.subarray(HEADER);
    const sum = new DataView(bytes.buffer).getUint32(CRC, true);
    return sum === crc32(content) ? content : NOTHING;
  }

  private read(): Uint8Array {
    let fd: number;
    try {
      fd = openSync(this.path, 'r');
    } catch {
      return NOTHING;
    }
    try {
      const s = fstatSync(fd);
      const own = process.getuid === undefined || s.uid === process.getuid();
      if (!s.isFile() || !own || (s.mode & 0o022) !== 0 || s.size > HEADER + SAVED_LIMIT) return NOTHING;
      const memory = new SharedArrayBuffer(s.size);
      askForHugePages(memory);
      const bytes = new Uint8Array(memory);
      let at = 0;
      for (let n = -1; n !== 0 && at < s.size; at += n) n = readSync(fd, bytes, at, s.size - at, at);
      return bytes.subarray(0, at);
    } finally {
      closeSync(fd);
    }
  }

  /** A cache that cannot be written is no error: the next run translates again. */
  async save(translations: Uint8Array<ArrayBuffer>): Promise<void> {
    const temporary = `${this.path}.${randomUUID()}`;
    try {
      const header = new Uint8Array(HEADER);
      header.set(this.fingerprint);
      new DataView(header.buffer).setUint32(CRC, crc32(translations), true);
      await mkdir(dirname(this.path), { recursive: true });
      const file = await open(temporary, 'wx', 0o600);
      try {
        for (const part of [header, translations]) await file.writeFile(part);
      } finally {
        await file.close();
      }
      await rename(temporary, this.path);
    } catch {
      await rm(temporary, { force: true }).catch(() => {}); // no folder, no file
    }
  }
}
