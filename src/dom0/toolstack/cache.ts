/**
 * Where fetched and derived files are kept: `$XDG_CACHE_HOME/xenolith`, by default `~/.cache/xenolith`. Content is stored
 * under its SHA-256 and checked when it is opened, so a damaged file is as good as none. Small notes say which content is current.
 */
import { createHash, randomUUID } from 'node:crypto';
import { fstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { CacheFile, type Content, hashOf } from './cache-file.ts';
import { ToolstackError } from './error.ts';
import { touched } from './touched.ts';

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export class Cache {
  readonly dir: string;

  constructor(dir = defaultDir()) {
    this.dir = dir;
  }

  /** The content with that hash, if it is there and whole, as an open file, of which nothing is kept in memory. */
  contentFile(hash: string): CacheFile | undefined {
    return CacheFile.open(join(this.dir, 'content', hash), hash, (fd) => this.contentOf(fd));
  }

  /**
   * What an open file holds, which is at its start; a kernel takes 0.1 s to be read and hashed. It is read again only if it was touched
   * since (ctime cannot be set back), or a moment before.
   */
  contentOf(fd: number): Content {
    const status = fstatSync(fd, { bigint: true });
    // What a device holds changes without it.
    if (!status.isFile()) return hashOf(fd);
    const { state: seen, settled } = touched(status);
    const name = `hash-${status.dev}-${status.ino}`;
    const known = this.#recall(name) as Partial<Record<'seen' | 'hash', unknown>> | null | undefined;
    if (known?.seen === seen && typeof known.hash === 'string') return { hash: known.hash, size: Number(status.size) };
    const found = hashOf(fd);
    if (settled) this.#remember(name, { seen, hash: found.hash });
    return found;
  }

  /** A note, if the cache can be read: a kernel that is not packed needs none. */
  #recall(name: string): unknown {
    try {
      return this.note(name);
    } catch {
      return undefined;
    }
  }

  /** It is known again at the next time, if the cache can be written. */
  #remember(name: string, value: unknown): void {
    try {
      this.setNote(name, value);
    } catch {
      // It is read again, then.
    }
  }

  /** Keeps the bytes; returns their hash. */
  addContent(bytes: Uint8Array): string {
    const hash = sha256(bytes);
    this.#write(join('content', hash), bytes);
    return hash;
  }

  /** The same; returns what was written, open. */
  addFile(bytes: Uint8Array): CacheFile {
    const file = this.contentFile(this.addContent(bytes));
    if (!file) throw new ToolstackError(`the cache in ${this.dir} does not keep what is written to it`);
    return file;
  }

  /** A note, as it was written; undefined if there is none or it cannot be understood. */
  note(name: string): unknown {
    const bytes = this.#read(join('notes', `${name}.json`));
    try {
      return bytes && JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      return undefined;
    }
  }

  setNote(name: string, value: unknown): void {
    this.#write(join('notes', `${name}.json`), new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  }

  /** What `make` derives from content of the hash `source`, kept by that and the name of the derivation. */
  async derived(what: string, source: string, make: () => Uint8Array | Promise<Uint8Array>): Promise<CacheFile> {
    const name = `${what}-${source}`;
    const known = this.note(name);
    const kept = typeof known === 'string' ? this.contentFile(known) : undefined;
    if (kept) return kept;
    const made = this.addFile(await make());
    this.setNote(name, made.known.hash);
    return made;
  }

  /** A folder for work in progress; the caller removes it. */
  scratch(): string {
    const dir = join(this.dir, 'tmp', randomUUID());
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  #read(name: string): Uint8Array | undefined {
    try {
      return readFileSync(join(this.dir, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Others see the old file or the new one, never a part of it. */
  #write(name: string, bytes: Uint8Array): void {
    const path = join(this.dir, name);
    mkdirSync(dirname(path), { recursive: true });
    const temporary = `${path}.${randomUUID()}`;
    try {
      writeFileSync(temporary, bytes);
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  }
}

/** XDG Base Directory Specification: a relative path in the variable is to be ignored. */
function defaultDir(): string {
  const xdg = process.env.XDG_CACHE_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'xenolith');
}
