/** What the runtime's helpers may read and change of the state that a region keeps in locals. */

export interface Effects {
  /** General registers. */
  readonly gpr: boolean;
  /** SSE registers. */
  readonly xmm: boolean;
  /** Flag words. */
  readonly flags: boolean;
  /** x87 registers and control words (of the helpers for x87 instructions X87Stack knows more). */
  readonly x87: boolean;
  /** Guest memory, and so perhaps this region's own code. */
  readonly memory: boolean;
}

const NOTHING: Effects = { gpr: false, xmm: false, flags: false, x87: false, memory: false };
const X87: Effects = { ...NOTHING, x87: true };
const ANYTHING: Effects = { gpr: true, xmm: true, flags: true, x87: true, memory: true };
/** String instructions: rAX rCX rSI rDI; the comparing ones set flags, the storing ones write memory. */
const STRING: Effects = { ...NOTHING, gpr: true };

const TABLE: Readonly<Record<string, Effects>> = {
  rep_movs: { ...STRING, memory: true },
  rep_stos: { ...STRING, memory: true },
  rep_lods: STRING,
  rep_cmps: { ...STRING, flags: true },
  rep_scas: { ...STRING, flags: true },
  sse_check: NOTHING,
  crc32c: NOTHING,
  fence: NOTHING,
  rdtsc: NOTHING,
  rdrand: NOTHING,
  mmx_state: { ...NOTHING, x87: true },
  fp_record: NOTHING,
  pcmpstr: NOTHING,
};

/** Of the x87 helpers only these touch memory; no one touches general or SSE registers. */
const X87_MEMORY = new Set(['fp_store_env', 'fp_load_env', 'fp_save', 'fp_restore']);

/** x87 and soft-float helpers work on the x87 stack, the control words and their arguments; the latter on their arguments alone. */
const ARITHMETIC = /^(fp_|[fi](32|64)_|i?div128$)/;
const SOFT_FLOAT = /^(fp_(ss|sd|ps|pd|dpps|dppd|convert)$|[^f]|f(32|64)_)/;

export function effectsOf(helper: string): Effects {
  if (X87_MEMORY.has(helper)) return { ...NOTHING, x87: true, memory: true };
  if (TABLE[helper]) return TABLE[helper];
  if (!ARITHMETIC.test(helper)) return ANYTHING;
  return SOFT_FLOAT.test(helper) ? NOTHING : X87;
}
