/**
 * The register state of a case, its scratch memory, and how both follow from a seed. The layout of a block is shared
 * with native/harness.c.
 */
import { struct } from '../../src/abi/layout.ts';
import { Rng } from './rng.ts';
import { float32, float64, float80, int64 } from './values.ts';

/** Two mapped pages of data with unmapped neighbours; the register bases of FS and GS point into it. */
export const WINDOW = 0x1000_0000;
export const WINDOW_SIZE = 0x2000;
/** Sixteen executable pages full of int3, unmapped around; a case's code is placed in it. */
export const CODE = 0x2000_0000;
export const CODE_SIZE = 0x1_0000;
export const FS_BASE = WINDOW + 0x400;
export const GS_BASE = WINDOW + 0xc00;
/** Where a case's code lies and its stack pointer points unless the case says otherwise. */
export const DEFAULT_AT = CODE + 0x8000;
export const DEFAULT_SP = WINDOW + 0x1800;

/** The code selectors of user programs in (64-bit, compatibility) mode. */
export const USER_CS = [0x33, 0x23] as const;

export const Block = struct('Block', [
  ['gpr', 'u64', 16],
  ['rflags', 'u64'],
  ['rip', 'u64'],
  ['mxcsr', 'u32'],
  ['fcw', 'u16'],
  ['fsw', 'u16'],
  /** Abridged: bit n set = physical register n in use. */
  ['ftw', 'u16'],
  ['fop', 'u16'],
  ['cs', 'u32'],
  ['fip', 'u64'],
  ['fdp', 'u64'],
  ['fsbase', 'u64'],
  ['gsbase', 'u64'],
  /** Physical registers R0..R7, ten bytes of each 16. */
  ['st', 'v128', 8],
  ['xmm', 'v128', 16],
]);

export const GPR_NAMES = [
  'a',
  'c',
  'd',
  'b',
  'sp',
  'bp',
  'si',
  'di',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];

/** Named fields of a block that the recorded files speak of. */
export const FIELDS: Readonly<Record<string, readonly [offset: number, bytes: number]>> = Object.fromEntries([
  ...GPR_NAMES.map((n, i) => [n, [Block.off.gpr + i * 8, 8]]),
  ['f', [Block.off.rflags, 8]],
  ['mx', [Block.off.mxcsr, 4]],
  ['cw', [Block.off.fcw, 2]],
  ['sw', [Block.off.fsw, 2]],
  ['tw', [Block.off.ftw, 2]],
  ['op', [Block.off.fop, 2]],
  ['cs', [Block.off.cs, 2]],
  ['fip', [Block.off.fip, 8]],
  ['fdp', [Block.off.fdp, 8]],
  ['fsb', [Block.off.fsbase, 8]],
  ['gsb', [Block.off.gsbase, 8]],
  ...Array.from({ length: 8 }, (_, i) => [`m${i}`, [Block.off.st + i * 16, 10]]),
  ...Array.from({ length: 16 }, (_, i) => [`x${i}`, [Block.off.xmm + i * 16, 16]]),
]);

/** Sixteen bytes of one kind: 0 integers, 1 f32, 2 f64, 3 f80 (and six bytes of anything), 4 any. */
function lanes(r: Rng, kind: number, dv: DataView, at: number): void {
  switch (kind) {
    case 0: {
      const w = 1 << r.below(4);
      for (let i = 0; i < 16; i += w) {
        const v = int64(r);
        if (w === 8) dv.setBigUint64(at + i, v, true);
        else for (let k = 0; k < w; k++) dv.setUint8(at + i + k, Number((v >> BigInt(k * 8)) & 0xffn));
      }
      break;
    }
    case 1:
      for (let i = 0; i < 16; i += 4) dv.setUint32(at + i, Number(float32(r)), true);
      break;
    case 2:
      for (let i = 0; i < 16; i += 8) dv.setBigUint64(at + i, float64(r), true);
      break;
    case 3: {
      const [m, se] = float80(r);
      dv.setBigUint64(at, m, true);
      dv.setUint16(at + 8, se, true);
      for (let i = 10; i < 16; i++) dv.setUint8(at + i, r.u32() & 0xff);
      break;
    }
    default:
      for (let i = 0; i < 16; i += 4) dv.setUint32(at + i, r.u32(), true);
  }
}

/** Kind of the 16-byte chunk at a window offset (see `lanes`). */
export const chunkKind = (offset: number): number => [0, 0, 1, 1, 2, 2, 3, 4][(offset >> 4) & 7];
/** Window offsets (within 128 bytes) whose chunks are of a kind. */
export const KIND_OFFSETS: readonly (readonly number[])[] = [[0, 16], [32, 48], [64, 80], [96], [112]];

/** What the window holds before a case's own pokes. */
export const WINDOW_PATTERN: Uint8Array = (() => {
  const bytes = new Uint8Array(WINDOW_SIZE);
  const dv = new DataView(bytes.buffer);
  const r = new Rng(0x5eed);
  for (let at = 0; at < WINDOW_SIZE; at += 16) lanes(r, chunkKind(at), dv, at);
  return bytes;
})();

/** Seeds say in their low three bits what the xmm registers hold: a kind of `lanes`, or 5: a mixture. */
export const FLAVOURS = 8;

/** The state a seed stands for. Compatibility mode: general registers have clear upper halves. */
export function baseState(seed: number, mode: 0 | 1): Uint8Array {
  const bytes = new Uint8Array(Block.size);
  const dv = new DataView(bytes.buffer);
  const r = new Rng(seed);
  for (let i = 0; i < 16; i++) {
    const v = int64(r);
    dv.setBigUint64(Block.off.gpr + i * 8, mode ? (i < 8 ? v & 0xffff_ffffn : 0n) : v, true);
  }
  dv.setBigUint64(Block.off.gpr + 4 * 8, BigInt(DEFAULT_SP), true);
  // CF PF AF ZF SF OF at random, DF now and then, IF and bit 1 always.
  const flags = (r.u32() & 0x8d5) | 0x202 | (r.oneIn(6) ? 0x400 : 0);
  dv.setUint32(Block.off.rflags, flags, true);
  // Rounding control at random; exceptions masked except now and then; FTZ and DAZ now and then.
  let mxcsr = (r.below(4) << 13) | 0x1f80;
  if (r.oneIn(3)) mxcsr |= r.below(64);
  if (r.oneIn(8)) mxcsr |= 0x8000;
  if (r.oneIn(8)) mxcsr |= 0x0040;
  if (r.oneIn(12)) mxcsr &= ~(r.below(64) << 7);
  dv.setUint32(Block.off.mxcsr, mxcsr, true);
  let fcw = 0x37f;
  if (r.oneIn(2)) fcw = (fcw & ~0xc00) | (r.below(4) << 10);
  if (r.oneIn(3)) fcw = (fcw & ~0x300) | (r.pick([0, 2, 3]) << 8);
  if (r.oneIn(12)) fcw &= ~r.below(64);
  if (r.oneIn(8)) fcw |= 0x1000; // infinity control: no effect
  dv.setUint16(Block.off.fcw, fcw | 0x40, true);
  let fsw = (r.below(8) << 11) | (r.u32() & 0x4700);
  if (r.oneIn(4)) fsw |= r.below(128);
  if (fsw & ~fcw & 0x3f) fsw = r.oneIn(4) ? fsw | 0x8080 : fsw & ~(~fcw & 0x3f);
  if (!(fsw & ~fcw & 0x3f)) fsw &= ~0x8080;
  dv.setUint16(Block.off.fsw, fsw, true);
  dv.setUint16(Block.off.ftw, r.oneIn(3) ? r.below(256) : 0xff, true);
  for (let i = 0; i < 8; i++) {
    if (r.oneIn(6)) {
      // as MMX leaves it
      dv.setBigUint64(Block.off.st + i * 16, int64(r), true);
      dv.setUint16(Block.off.st + i * 16 + 8, 0xffff, true);
    } else {
      const [m, se] = float80(r);
      dv.setBigUint64(Block.off.st + i * 16, m, true);
      dv.setUint16(Block.off.st + i * 16 + 8, se, true);
    }
  }
  const flavour = seed & (FLAVOURS - 1);
  for (let i = 0; i < 16; i++) {
    lanes(r, flavour < 5 ? flavour : r.below(5), dv, Block.off.xmm + i * 16);
  }
  dv.setUint32(Block.off.cs, USER_CS[mode], true);
  dv.setBigUint64(Block.off.fsbase, BigInt(FS_BASE), true);
  dv.setBigUint64(Block.off.gsbase, BigInt(GS_BASE), true);
  return bytes;
}

/** A case that starts or ends in compatibility mode: only the lower halves of the first eight registers can be observed. */
export function hideUpperHalves(block: Uint8Array, mode: 0 | 1): void {
  const cs = block[Block.off.cs];
  if (mode === 0 && (cs & ~3) !== (USER_CS[1] & ~3)) return;
  for (let i = 0; i < 8; i++) block.fill(0, Block.off.gpr + i * 8 + 4, Block.off.gpr + i * 8 + 8);
  block.fill(0, Block.off.gpr + 64, Block.off.gpr + 128);
}
