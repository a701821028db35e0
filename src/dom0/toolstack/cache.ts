/**
 * Where fetched and derived files are kept: `$XDG_CACHE_HOME/xenolith`, by default `~/.cache/xenolith`. Content is stored
 * under its SHA-256 and checked when read, so a damaged file is as good as none. Small notes say which content is current.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export class Cache {
  readonly dir: string;

  constructor(dir = defaultDir()) {
    this.dir = dir;
  }

  /** The content with that hash, if it is there and whole. */
  content(hash: string): Uint8Array | undefined {
    const bytes = this.#read(join('content', hash));
    return bytes && sha256(bytes) === hash ? bytes : undefined;
  }

  /** Keeps the bytes; returns their hash. */
  addContent(bytes: Uint8Array): string {
    const hash = sha256(bytes);
    this.#write(join('content', hash), bytes);
    return hash;
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

  /** What `make` derives from `source`, kept by the hash of the source and the name of the derivation. */
  derived(what: string, source: Uint8Array, make: () => Uint8Array): Uint8Array {
    const name = `${what}-${sha256(source)}`;
    const known = this.note(name);
    const kept = typeof known === 'string' ? this.content(known) : undefined;
    if (kept) return kept;
    const made = make();
    this.setNote(name, this.addContent(made));
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
