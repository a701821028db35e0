/** A small seeded generator of pseudo-random numbers (mulberry32): the same seed gives the same cases everywhere. */
export class Rng {
  private s: number;

  constructor(seed: number) {
    this.s = seed >>> 0;
  }
  /** 0 … 2^32 - 1. */
  u32(): number {
    this.s = (this.s + 0x6d2b79f5) >>> 0;
    let t = this.s;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
  /** 0 … n - 1. */
  below(n: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * n);
  }
  /** from … to, both included. */
  range(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
  /** True once in n times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }
}

/** A seed from any string (FNV-1a). */
export function seedOf(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
