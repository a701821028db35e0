/**
 * Modules of several translations. One that was just made has its own; those that last have one in common (a pack), as code that goes
 * from instance to instance finds little of what it needs of them in the host's caches (docs/decisions/0026-packs.md).
 */
import { type Linked, link } from '../wasm/link.ts';
import { type Code, cellName } from './code.ts';

/** Where a translation is: function `index` of a module. */
export interface Within {
  readonly from: Code;
  readonly index: number;
}

/** What a module imports once for all of its functions. The rest of `env` each function has for itself. */
const SHARED = new Set(['memory', 'dropped']);

/** The wasm of a module of these, in this order. Throws if they are not from modules of this engine's. */
export const pack = (of: readonly Within[]): Uint8Array<ArrayBuffer> =>
  link(
    of.map(({ from, index }): Linked => ({ wasm: from.wasm, index })),
    ({ name }, n) => (SHARED.has(name) ? name : cellName(name.split('.')[0], n)),
  );
