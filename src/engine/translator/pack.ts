/**
 * Modules of translations. One that was just made has its own; those that last have one in common (a pack), as code that goes
 * from instance to instance finds little of what it needs of them in the host's caches (docs/decisions/0026-packs.md).
 */
import { type Linked, link } from '../wasm/link.ts';

/** A module: wasm and its machine code, as the host's `compiled` takes it; empty: there is none. */
export interface Code {
  readonly wasm: Uint8Array;
  readonly code: Uint8Array;
  /** Functions in it, each of which is a translation, or was. */
  readonly functions: number;
}

/** Where a translation is: function `index` of a module. */
export interface Within {
  readonly from: Code;
  readonly index: number;
}

/** What a module imports once for all of its functions. The rest of `env` each function has for itself. */
const SHARED = new Set(['memory', 'dropped']);

/** The import of `env` that is function n's `what`: `id`, or `table0` and so on. */
export const cellName = (what: string, n: number): string => `${what}.${n}`;

/** The wasm of a module of these, in this order. Throws if they are not from modules of this engine's. */
export const pack = (of: readonly Within[]): Uint8Array<ArrayBuffer> =>
  link(
    of.map(({ from, index }): Linked => ({ wasm: from.wasm, index })),
    ({ name }, n) => (SHARED.has(name) ? name : cellName(name.split('.')[0], n)),
  );

/** What a byte of a module costs, compiled and all, and each module besides (`process.memoryUsage` over sets of 312 and 839). */
const BYTE_COST = 4;
const MODULE_COST = 24 << 10;

/** Bytes of memory that a module takes when it is compiled. */
export const costOf = (c: Pick<Code, 'wasm'>): number => c.wasm.length * BYTE_COST + MODULE_COST;

/** What a module of several may cost, where there is so much memory for translations in all. */
export const mostOf = (limitMiB: number): number => (limitMiB * 2 ** 20) / 8;
