/**
 * Hardware breakpoints and watchpoints: the four debug registers (Intel SDM vol. 3, 17.2), the same ones in every vCPU. What
 * the guest has in them itself is put aside while there are any, and comes back with the last one's end.
 */
import { VcpuGuestContext } from '../../abi/arch-x86.ts';
import type { DebugTarget } from './target.ts';

export type WatchKind = 'execute' | 'write' | 'access';

export interface Watch {
  readonly kind: WatchKind;
  readonly address: bigint;
  /** Bytes: 1, 2, 4 or 8, which the address is a multiple of. */
  readonly length: number;
}

const REGISTERS = 4;
const DR6 = 6;
const DR7 = 7;
/** Reads as 1 after a reset; the rest of DR7 is ours to make. */
const DR7_FIXED = 0x400n;
/** What says in DR6 which of the registers it was. */
const DR6_HITS = 0xfn;
const DR6_RESET = 0xffff_0ff0n;
const TYPES: Readonly<Record<WatchKind, bigint>> = { execute: 0n, write: 1n, access: 3n };
const LENGTHS: Readonly<Record<number, bigint>> = { 1: 0n, 2: 1n, 4: 3n, 8: 2n };

const at = (n: number) => VcpuGuestContext.off.debugreg + 8 * n;
const read = (context: Uint8Array, n: number) => Buffer.from(context.buffer, context.byteOffset).readBigUInt64LE(at(n));
const write = (context: Uint8Array, n: number, value: bigint) => {
  Buffer.from(context.buffer, context.byteOffset).writeBigUInt64LE(value, at(n));
};

/** A region as pieces that a register can watch each. */
function pieces(kind: WatchKind, address: bigint, length: number): Watch[] {
  if (kind === 'execute') return [{ kind, address, length: 1 }];
  const out: Watch[] = [];
  for (let from = address, left = length; left > 0; ) {
    let size = 8;
    while (size > left || from % BigInt(size) !== 0n) size /= 2;
    out.push({ kind, address: from, length: size });
    from += BigInt(size);
    left -= size;
  }
  return out;
}

const same = (a: Watch, b: Watch) => a.kind === b.kind && a.address === b.address && a.length === b.length;

export class HardwareBreakpoints {
  readonly #target: DebugTarget;
  readonly #slots: (Watch | undefined)[] = Array(REGISTERS).fill(undefined);
  /** What each vCPU had in its registers 0 to 3 and 7 before it got ours. */
  readonly #own = new Map<number, readonly bigint[]>();

  constructor(target: DebugTarget) {
    this.#target = target;
  }

  /** `length`: bytes of data, 1 for execution. False: there are not as many registers free as it takes. */
  insert(kind: WatchKind, address: bigint, length: number): boolean {
    if (length < 1 || length > 8 * REGISTERS) return false;
    const wanted = pieces(kind, address, length).filter((w) => !this.#slots.some((s) => s && same(s, w)));
    const free = [...this.#slots.keys()].filter((n) => !this.#slots[n]);
    if (wanted.length > free.length) return false;
    wanted.forEach((w, i) => {
      this.#slots[free[i]] = w;
    });
    return true;
  }

  remove(kind: WatchKind, address: bigint, length: number): void {
    const gone = pieces(kind, address, length);
    this.#slots.forEach((s, n) => {
      if (s && gone.some((w) => same(s, w))) this.#slots[n] = undefined;
    });
  }

  has(watch: Watch): boolean {
    return this.#slots.some((s) => s && same(s, watch));
  }

  removeAll(): void {
    this.#slots.fill(undefined);
  }

  /** Puts them into the registers of the vCPUs, which are stopped. To be called before they go on. */
  apply(): void {
    const any = this.#slots.some((s) => s);
    if (!any && this.#own.size === 0) return;
    for (const vcpu of this.#target.vcpus()) {
      const context = this.#target.context(vcpu)!;
      const numbers = [0, 1, 2, 3, DR7];
      const now = numbers.map((n) => read(context, n));
      if (any && !this.#own.has(vcpu)) this.#own.set(vcpu, now);
      const wanted = any ? this.#registers() : this.#own.get(vcpu);
      if (!wanted || wanted.every((value, i) => value === now[i])) continue;
      numbers.forEach((n, i) => {
        write(context, n, wanted[i]);
      });
      this.#target.changed(vcpu);
    }
    if (!any) this.#own.clear();
  }

  /** What has stopped a vCPU with #DB; undefined: none of these. Forgets it. */
  hit(vcpu: number): Watch | undefined {
    const context = this.#target.context(vcpu);
    if (!context) return undefined;
    const hits = read(context, DR6) & DR6_HITS;
    if (hits === 0n || !this.#own.has(vcpu)) return undefined;
    write(context, DR6, DR6_RESET);
    this.#target.changed(vcpu);
    return this.#slots.find((s, n) => s && (hits >> BigInt(n)) & 1n);
  }

  /** DR0 to DR3, DR7: each enabled globally. */
  #registers(): bigint[] {
    let dr7 = DR7_FIXED;
    this.#slots.forEach((s, n) => {
      if (s) dr7 |= (2n << BigInt(2 * n)) | ((TYPES[s.kind] | (LENGTHS[s.length] << 2n)) << BigInt(16 + 4 * n));
    });
    return [...this.#slots.map((s) => s?.address ?? 0n), dr7];
  }
}
