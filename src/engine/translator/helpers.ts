/** What the runtime's helpers may read and change of the state that a region keeps in locals. */

export interface Effects {
  /** General registers. */
  readonly gpr: boolean;
  /** SSE registers. */
  readonly xmm: boolean;
  /** Flag words. */
  readonly flags: boolean;
  /** Guest memory, and so perhaps this region's own code. */
  readonly memory: boolean;
}

const NOTHING: Effects = { gpr: false, xmm: false, flags: false, memory: false };
const ANYTHING: Effects = { gpr: true, xmm: true, flags: true, memory: true };
/** String instructions: rAX rCX rSI rDI; the comparing ones set flags, the storing ones write memory. */
const STRING: Effects = { gpr: true, xmm: false, flags: false, memory: false };

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
  mmx_state: NOTHING,
  pcmpstr: NOTHING,
};

/** Of the x87 helpers only these touch memory; no one touches general or SSE registers. */
const X87_MEMORY = new Set(['fp_store_env', 'fp_load_env', 'fp_save', 'fp_restore']);

/** x87 and soft-float helpers work on the x87 stack, the control words and their arguments. */
const ARITHMETIC = /^(fp_|[fi](32|64)_|i?div128$)/;

export function effectsOf(helper: string): Effects {
  if (X87_MEMORY.has(helper)) return { ...NOTHING, memory: true };
  return TABLE[helper] ?? (ARITHMETIC.test(helper) ? NOTHING : ANYTHING);
}
