/**
 * WebAssembly's instruction bytes by text name, for the pure instructions that descriptions may use and the memory and
 * control ones that the two tiers emit (WebAssembly Core Specification, binary format; SIMD and threads proposals).
 */

/** Name → bytes. Prefixed opcodes hold the prefix and the LEB128 of the number. */
export const OPCODES: Record<string, readonly number[]> = {};

const leb = (n: number): number[] => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...leb(n >> 7)]);

function run(first: number, names: string, prefix?: number): void {
  let n = first;
  for (const name of names.trim().split(/\s+/)) {
    if (name !== '-') OPCODES[name] = prefix === undefined ? [n] : [prefix, ...leb(n)];
    n++;
  }
}

run(0x00, 'unreachable nop block loop if else');
run(0x0b, 'end br br_if br_table return call call_indirect return_call return_call_indirect');
run(0x1a, 'drop select select_t');
run(0x20, 'local.get local.set local.tee global.get global.set');
run(
  0x28,
  `i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u i64.load8_s i64.load8_u
   i64.load16_s i64.load16_u i64.load32_s i64.load32_u i32.store i64.store f32.store f64.store i32.store8 i32.store16
   i64.store8 i64.store16 i64.store32 memory.size memory.grow i32.const i64.const f32.const f64.const`,
);
const cmpI = 'eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const cmpF = 'eq ne lt gt le ge';
const withType = (t: string, names: string) =>
  names
    .split(/\s+/)
    .map((n) => `${t}.${n}`)
    .join(' ');
run(0x45, `${withType('i32', cmpI)} ${withType('i64', cmpI)} ${withType('f32', cmpF)} ${withType('f64', cmpF)}`);
const arithI = 'clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
const arithF = 'abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign';
run(
  0x67,
  `${withType('i32', arithI)} ${withType('i64', arithI)} ${withType('f32', arithF)} ${withType('f64', arithF)}`,
);
run(
  0xa7,
  `i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u
   i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s
   f32.convert_i64_u f32.demote_f64 f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u
   f64.promote_f32 i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64 i32.extend8_s
   i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s`,
);
run(
  0x00,
  `i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u i64.trunc_sat_f32_s
   i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u memory.init data.drop memory.copy memory.fill`,
  0xfc,
);

const cmpV = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
run(
  0x00,
  `v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u v128.load32x2_s v128.load32x2_u
   v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat v128.store v128.const i8x16.shuffle
   i8x16.swizzle i8x16.splat i16x8.splat i32x4.splat i64x2.splat f32x4.splat f64x2.splat
   i8x16.extract_lane_s i8x16.extract_lane_u i8x16.replace_lane i16x8.extract_lane_s i16x8.extract_lane_u
   i16x8.replace_lane i32x4.extract_lane i32x4.replace_lane i64x2.extract_lane i64x2.replace_lane f32x4.extract_lane
   f32x4.replace_lane f64x2.extract_lane f64x2.replace_lane
   ${withType('i8x16', cmpV)} ${withType('i16x8', cmpV)} ${withType('i32x4', cmpV)} ${withType('f32x4', cmpF)}
   ${withType('f64x2', cmpF)} v128.not v128.and v128.andnot v128.or v128.xor v128.bitselect v128.any_true
   v128.load8_lane v128.load16_lane v128.load32_lane v128.load64_lane v128.store8_lane v128.store16_lane
   v128.store32_lane v128.store64_lane v128.load32_zero v128.load64_zero f32x4.demote_f64x2_zero
   f64x2.promote_low_f32x4 i8x16.abs i8x16.neg i8x16.popcnt i8x16.all_true i8x16.bitmask i8x16.narrow_i16x8_s
   i8x16.narrow_i16x8_u f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest i8x16.shl i8x16.shr_s i8x16.shr_u i8x16.add
   i8x16.add_sat_s i8x16.add_sat_u i8x16.sub i8x16.sub_sat_s i8x16.sub_sat_u f64x2.ceil f64x2.floor i8x16.min_s
   i8x16.min_u i8x16.max_s i8x16.max_u f64x2.trunc i8x16.avgr_u i16x8.extadd_pairwise_i8x16_s
   i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u i16x8.abs i16x8.neg
   i16x8.q15mulr_sat_s i16x8.all_true i16x8.bitmask i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u i16x8.extend_low_i8x16_s
   i16x8.extend_high_i8x16_s i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u i16x8.shl i16x8.shr_s i16x8.shr_u
   i16x8.add i16x8.add_sat_s i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u f64x2.nearest i16x8.mul
   i16x8.min_s i16x8.min_u i16x8.max_s i16x8.max_u - i16x8.avgr_u i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_s
   i16x8.extmul_low_i8x16_u i16x8.extmul_high_i8x16_u i32x4.abs i32x4.neg - i32x4.all_true i32x4.bitmask - -
   i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u i32x4.shl
   i32x4.shr_s i32x4.shr_u i32x4.add - - i32x4.sub - - - i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u
   i32x4.dot_i16x8_s - i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s i32x4.extmul_low_i16x8_u
   i32x4.extmul_high_i16x8_u i64x2.abs i64x2.neg - i64x2.all_true i64x2.bitmask - - i64x2.extend_low_i32x4_s
   i64x2.extend_high_i32x4_s i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_u i64x2.shl i64x2.shr_s i64x2.shr_u
   i64x2.add - - i64x2.sub - - - i64x2.mul i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s
   i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_s i64x2.extmul_low_i32x4_u i64x2.extmul_high_i32x4_u f32x4.abs
   f32x4.neg - f32x4.sqrt f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin f32x4.pmax f64x2.abs
   f64x2.neg - f64x2.sqrt f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max f64x2.pmin f64x2.pmax
   i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u
   i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u`,
  0xfd,
);

run(0x00, 'memory.atomic.notify memory.atomic.wait32 memory.atomic.wait64 atomic.fence', 0xfe);
run(
  0x10,
  `i32.atomic.load i64.atomic.load i32.atomic.load8_u i32.atomic.load16_u i64.atomic.load8_u i64.atomic.load16_u
   i64.atomic.load32_u i32.atomic.store i64.atomic.store i32.atomic.store8 i32.atomic.store16 i64.atomic.store8
   i64.atomic.store16 i64.atomic.store32`,
  0xfe,
);
for (const [i, op] of ['add', 'sub', 'and', 'or', 'xor', 'xchg', 'cmpxchg'].entries()) {
  run(
    0x1e + i * 7,
    `i32.atomic.rmw.${op} i64.atomic.rmw.${op} i32.atomic.rmw8.${op}_u i32.atomic.rmw16.${op}_u i64.atomic.rmw8.${op}_u
     i64.atomic.rmw16.${op}_u i64.atomic.rmw32.${op}_u`,
    0xfe,
  );
}

/** Sanity anchors, checked once at load: a slip in the lists above would shift these. */
for (const [name, bytes] of [
  ['i64.extend32_s', [0xc4]],
  ['f64.copysign', [0xa6]],
  ['memory.fill', [0xfc, 11]],
  ['i8x16.popcnt', [0xfd, 0x62]],
  ['f32x4.ceil', [0xfd, 0x67]],
  ['i16x8.avgr_u', [0xfd, ...leb(0x9b)]],
  ['i32x4.dot_i16x8_s', [0xfd, ...leb(0xba)]],
  ['i64x2.eq', [0xfd, ...leb(0xd6)]],
  ['f64x2.pmax', [0xfd, ...leb(0xf7)]],
  ['f64x2.convert_low_i32x4_u', [0xfd, ...leb(0xff)]],
  ['i64.atomic.rmw32.cmpxchg_u', [0xfe, 0x4e]],
] as const) {
  if (OPCODES[name]?.join() !== bytes.join()) throw new Error(`opcode table: ${name} is ${OPCODES[name]}`);
}

/** What follows an instruction's bytes: a number in LEB128 (`leb`) or what it counts and one more (`vector`), or so many bytes as they are. */
export type Immediate = 'leb' | 'vector' | number;

const NONE: readonly Immediate[] = [];

/** Of the instruction of this name. */
export function immediatesOf(name: string): readonly Immediate[] {
  if (/^(if|block|loop)$/.test(name)) return [1];
  if (name === 'br_table') return ['vector'];
  if (/^(return_)?call_indirect$/.test(name)) return ['leb', 'leb'];
  if (/^(local|global)\.|^br|call$|^i(32|64)\.const$/.test(name)) return ['leb'];
  if (name === 'f32.const') return [4];
  if (name === 'f64.const') return [8];
  // One type, as all that the format has.
  if (name === 'select_t') return [2];
  if (name === 'v128.const' || name === 'i8x16.shuffle') return [16];
  if (/_lane(_[su])?$/.test(name)) return /\.(load|store)/.test(name) ? ['leb', 'leb', 1] : [1];
  if (name === 'memory.copy') return [2];
  if (name === 'memory.init') return ['leb', 1];
  if (name === 'data.drop') return ['leb'];
  if (name === 'atomic.fence' || /^memory\.(size|grow|fill)$/.test(name)) return [1];
  if (/\.(load|store)|\.atomic\./.test(name)) return ['leb', 'leb'];
  return NONE;
}
