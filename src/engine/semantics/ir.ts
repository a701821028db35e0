/**
 * The intermediate form of an instruction's description: a list of nodes, in order, with nested lists for `if`.
 * Both tiers read it: the interpreter's generator (operands come from a decoded record) and the translator (operands
 * are constants, registers are locals). See builder.ts for what each node means.
 */

export type Type = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** A typed value: the result of one node. */
export interface Val {
  readonly id: number;
  readonly t: Type;
  readonly node: Node;
}

/** A memory operand whose address is probed for writing: reads and the later write go to the same place. */
export interface Probe {
  readonly id: number;
  readonly bytes: number;
  readonly addr: Val;
}

/**
 * What an `if` proves of SSE arithmetic, of which its list is the rare case (semantics/fp.ts): that `r`, made of `a` and `c` (of both lanes
 * or all four where packed), is what x86 gives. A sum is right if it is finite and operands are normal or zero; a product or quotient if
 * operands are normal and it is finite and above the smallest normal number; a square root (of a) if a is normal and positive.
 */
export interface Proof {
  readonly fmt: 'ss' | 'sd' | 'ps' | 'pd';
  readonly kind: 'sum' | 'product' | 'root';
  readonly a: Val;
  readonly c: Val;
  readonly r: Val;
}

export type Node =
  /** A wasm instruction without side effects; `imm` are its immediates (lane index, shuffle bytes, constant). */
  | { k: 'op'; op: string; args: Val[]; imm?: (number | bigint)[]; out: Val }
  /** Register operand i, `bytes` wide (i32 for 1, 2, 4, zero-extended; i64 for 8; v128 for 16; f32/f64 if float). */
  | { k: 'regop'; i: number; bytes: number; float: boolean; out: Val }
  /** `at`: byte offset in the register's slot (the exponent of an MMX register), default 0. */
  | { k: 'setregop'; i: number; bytes: number; v: Val; at?: number }
  /** Immediate operand, sign-extended to t. */
  | { k: 'immop'; i: number; t: 'i32' | 'i64'; out: Val }
  /** Linear address (segment base included) of memory operand i: i64. */
  | { k: 'ea'; i: number; noseg: boolean; out: Val }
  /** Fixed field of CpuState. */
  | { k: 'get'; off: number; bytes: number; signed: boolean; t: Type; out: Val }
  | { k: 'set'; off: number; bytes: number; v: Val }
  /** Guest memory. */
  | { k: 'load'; addr: Val; bytes: number; signed: boolean; t: Type; align: boolean; out: Val }
  | { k: 'probe'; p: Probe; align: boolean; out: Val }
  | { k: 'pload'; p: Probe; at: number; bytes: number; signed: boolean; t: Type; out: Val }
  | { k: 'pstore'; p: Probe; at: number; bytes: number; v: Val }
  /** Bytes written to the probe reach memory (emitted after the last pstore of each probe). */
  | { k: 'commit'; p: Probe }
  /** Atomic read-modify-write at an aligned probe; `op` as in wasm: add sub and or xor xchg. Old value out. */
  | { k: 'atomic'; op: string; p: Probe; bytes: number; v: Val; out: Val }
  | { k: 'cmpxchg'; p: Probe; bytes: number; expected: Val; v: Val; out: Val }
  /** Lazy flags words (i64): z, s, c, x as in flags.ts; absent ones are kept. `recipe`: where all four come from. */
  | { k: 'flags'; z?: Val; s?: Val; c?: Val; x?: Val; recipe?: FlagRecipe }
  | { k: 'flagword'; w: 'z' | 's' | 'c' | 'x'; out: Val }
  /** Condition code 0..15 (i32, 0 or 1); `word` is the same from the flag words. */
  | { k: 'cond'; cc: number; word: Val; out: Val }
  /** `unless`: a rare branch without `else`, which is taken too if one of these (i32) is 0; they are looked at in turn, before `cond`. */
  | { k: 'if'; cond: Val; unless?: readonly Val[]; proof?: Proof; then: Node[]; else: Node[] }
  /** A mutable local variable, for values assigned on two paths. */
  | { k: 'setvar'; v: number; t: Type; val: Val }
  | { k: 'getvar'; v: number; t: Type; out: Val }
  /** Call of a runtime helper `(cpu, ...args) -> t`; may fault if `faults` (returns 0 = fault recorded in exit_*). */
  | { k: 'call'; name: string; args: Val[]; out?: Val }
  /** End of the instruction with an exception; exit_* are set; rip stays at the instruction. */
  | { k: 'raise'; vector: number; error?: Val }
  /** End of the instruction: leave guest code. `next`: rip is the following instruction, else this one. */
  | { k: 'exit'; reason: number; vector?: Val; error?: Val; next: boolean }
  /** End of the instruction: the helper already recorded an exception in exit_*. */
  | { k: 'faulted' }
  /** End of the instruction: continue at linear address (i64). */
  | { k: 'jump'; target: Val }
  /** End of the instruction: continue at the direct branch target (operand 0, Jb or Jz). */
  | { k: 'branch' }
  /** End of the instruction: run it again (rip unchanged), e.g. a rep string instruction that has more to do. */
  | { k: 'again' }
  /** Linear address of the next instruction (i64). */
  | { k: 'nextrip'; out: Val }
  /** Length of this instruction in bytes (i32). */
  | { k: 'length'; out: Val }
  /** Direct branch target address (i64). */
  | { k: 'target'; out: Val }
  /** Like falling through, but the next instruction is looked up anew (cpu.rip is taken from the field). */
  | { k: 'resync' };

/**
 * What an instruction's flags are made from, for a tier that puts off making them: operands `a`, `b` and result `r` of
 * `bytes` bytes (rubbish above them is allowed).
 *
 *   add, sub      r = a op b            adc, sbb      r = a op b op CF
 *   logic         of r alone, CF = OF = 0
 *   inc, dec      all but CF of r, one more or less than before; CF kept
 *   result        ZF SF PF of r, AF = 0; word c is given in the node
 */
export interface FlagRecipe {
  readonly op: 'add' | 'sub' | 'adc' | 'sbb' | 'logic' | 'inc' | 'dec' | 'result' | 'shl' | 'shr' | 'sar';
  readonly bytes: number;
  readonly r: Val;
  readonly a?: Val;
  readonly b?: Val;
}

/** One recorded description. */
export interface Code {
  readonly nodes: Node[];
  readonly vars: Type[];
  /** Value ids run from 0 to this. */
  readonly values: number;
}
