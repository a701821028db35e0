/**
 * Translated code kept from one host to the next: one file in the cache, `translations`, safe to delete. It begins with a
 * fingerprint of the engine that made it and the SHA-256 of what follows; anything else is no file. It is read and written by
 * its owner alone, since what it holds is run.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { engineFingerprint } from '../machine/parts.ts';

/** Most bytes that are kept. */
export const TRANSLATIONS_LIMIT = 48 << 20;
const HEADER = 64;

/** What a host needs of it. */
export interface TranslationStore {
  /** What was kept; empty if nothing was. */
  load(): Uint8Array;
  save(translations: Uint8Array): void;
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

export class TranslationFile implements TranslationStore {
  readonly path: string;
  private readonly fingerprint: Uint8Array;

  constructor(path: string, fingerprint = engineFingerprint()) {
    this.path = path;
    this.fingerprint = fingerprint;
  }

  load(): Uint8Array {
    const bytes = this.read();
    if (bytes.length < HEADER || Buffer.compare(bytes.subarray(0, 32), this.fingerprint) !== 0) return new Uint8Array();
    const content = bytes.subarray(HEADER);
    return Buffer.compare(bytes.subarray(32, HEADER), digest(content)) === 0 ? content : new Uint8Array();
  }

  private read(): Uint8Array {
    let fd: number;
    try {
      fd = openSync(this.path, 'r');
    } catch {
      return new Uint8Array();
    }
    try {
      const s = fstatSync(fd);
      const own = process.getuid === undefined || s.uid === process.getuid();
      if (!s.isFile() || !own || (s.mode & 0o022) !== 0 || s.size > HEADER + TRANSLATIONS_LIMIT)
        return new Uint8Array();
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** A cache that cannot be written is no error: the next run translates again. */
  save(translations: Uint8Array): void {
    const temporary = `${this.path}.${randomUUID()}`;
    try {
      mkdirSync(dirname(this.path), { recursive: true });
      writeFileSync(temporary, Buffer.concat([this.fingerprint, digest(translations), translations]), { mode: 0o600 });
      renameSync(temporary, this.path);
    } catch {
      if (existsSync(temporary)) rmSync(temporary);
    }
  }
}
