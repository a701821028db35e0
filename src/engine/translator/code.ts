/** Modules of translations: what they are made of, import and cost. Those of several are packs (pack.ts). */

/** A module: wasm and its machine code, as the host's `compiled` takes it; empty: there is none. */
export interface Code {
  readonly wasm: Uint8Array;
  readonly code: Uint8Array;
  /** Functions in it, each of which is a translation, or was. */
  readonly functions: number;
}

/** The import of `env` that is function n's `what`: `id`, or `table0` and so on. */
export const cellName = (what: string, n: number): string => `${what}.${n}`;

/** What a byte of a module costs, compiled and all, and each module besides (`process.memoryUsage` over sets of 312 and 839). */
const BYTE_COST = 4;
const MODULE_COST = 24 << 10;

/** Bytes of memory that a module takes when it is compiled. */
export const costOf = (c: Pick<Code, 'wasm'>): number => c.wasm.length * BYTE_COST + MODULE_COST;

/** What a module of several may cost, where there is so much memory for translations in all. */
export const mostOf = (limitMiB: number): number => (limitMiB * 2 ** 20) / 8;
