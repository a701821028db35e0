/**
 * Handlers that are no instructions: the decoder puts their records where decoding stops. Their numbers are the first
 * slots of the function table.
 */
export const SPECIAL = {
  /** Never decoded: a bug if it runs. */
  UNSET: 0,
  /** The record's guest bytes were changed: look the address up anew. */
  STALE: 1,
  /** Continue with the record whose address is in `imm` (not counted as an instruction). */
  GOTO: 2,
  /** Continue at page + `next` (not counted): end of page, or of what was decoded. */
  NEXT: 3,
  /** No such instruction: #UD. */
  UD: 4,
  /** The instruction crosses into the next page: the decoder checks both pages and gives its record. */
  STRADDLE: 5,
  /** Too long: #GP(0). */
  GP: 6,
  /** After a single step: leave guest code. */
  STOP: 7,
} as const;
export const SPECIALS = 8;
