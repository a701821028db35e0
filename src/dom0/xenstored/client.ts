/**
 * The store as code in the control domain uses it: dom0's rights, no wire protocol, XsError on failure. `XsAccess` is what
 * can be done both directly and inside a transaction.
 */
import { XsError } from './errors.ts';
import { formatPerm, parsePerms } from './perms.ts';
import type { Session } from './session.ts';
import type { Transaction } from './transaction.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class XsAccess {
  readonly #session: Session;
  readonly #tx: Transaction | undefined;

  constructor(session: Session, tx?: Transaction) {
    this.#session = session;
    this.#tx = tx;
  }

  /** The value as UTF-8 text; ENOENT if there is no such node. */
  read(path: string): string {
    return decoder.decode(this.readBytes(path));
  }

  /** A copy of the value. */
  readBytes(path: string): Uint8Array {
    return this.#session.read(path, this.#tx).slice();
  }

  /** As `read`, but undefined where there is no such node. */
  tryRead(path: string): string | undefined {
    try {
      return this.read(path);
    } catch (error) {
      if (error instanceof XsError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  exists(path: string): boolean {
    return this.tryRead(path) !== undefined;
  }

  /** Creates the node, and missing ones above it, as needed. `perms` is as in `xenstore-ls -p`: `n0,r1`. */
  write(path: string, value: string | Uint8Array, perms?: string | readonly string[]): void {
    this.#session.write(path, typeof value === 'string' ? encoder.encode(value) : new Uint8Array(value), this.#tx);
    if (perms) this.setPerms(path, perms);
  }

  mkdir(path: string, perms?: string | readonly string[]): void {
    this.#session.mkdir(path, this.#tx);
    if (perms) this.setPerms(path, perms);
  }

  /** Removes the node and all below it. No error if only the node itself is missing. */
  rm(path: string): void {
    this.#session.rm(path, this.#tx);
  }

  /** Names of the children, in the order of their creation. */
  directory(path: string): string[] {
    return this.#session.directory(path, this.#tx).names;
  }

  getPerms(path: string): string[] {
    return this.#session.getPerms(path, this.#tx).map(formatPerm);
  }

  setPerms(path: string, perms: string | readonly string[]): void {
    this.#session.setPerms(path, parsePerms(perms), this.#tx);
  }
}
