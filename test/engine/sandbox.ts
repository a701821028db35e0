/**
 * A bare engine for tests: a small machine memory, page tables built on demand, one CpuState, no hypervisor. Exits come
 * back to the caller.
 */
import { areaLayout, codeOwnersSize } from '../../src/engine/area.ts';
import { prepareArea } from '../../src/engine/bare.ts';
import { createEngine, type Engine, type EngineOptions } from '../../src/engine/engine.ts';
import { allEncodings } from '../../src/engine/semantics/index.ts';
import { CpuState } from '../../src/engine/state.ts';
import { Maker } from '../../src/engine/translator/maker.ts';
import { loadEngineParts } from '../../src/machine/parts.ts';

const { off } = CpuState;
const FRAMES = 16384; // 64 MiB
const OWNERS = 0x10_0000;
const AREA = OWNERS + codeOwnersSize(FRAMES);
const ARENA = 8 << 20;

export const PTE = { P: 1n, RW: 2n, US: 4n, A: 0x20n, D: 0x40n, NX: 1n << 63n } as const;

let parts: ReturnType<typeof loadEngineParts> | undefined;
const maker = new Maker(allEncodings());

export class Sandbox {
  readonly memory = new WebAssembly.Memory({ initial: FRAMES / 16, maximum: 65536, shared: true });
  readonly view = new DataView(this.memory.buffer);
  readonly u8 = new Uint8Array(this.memory.buffer);
  readonly area = AREA;
  readonly engine: Engine;
  readonly cpu: number;
  readonly root: number;
  private nextFrame: number;

  constructor(options: Pick<EngineOptions, 'translationMiB' | 'translations' | 'workshop' | 'compiled'> = {}) {
    parts ??= loadEngineParts();
    prepareArea(this.memory, AREA, FRAMES, { codeOwners: OWNERS, cpu: 0, cpus: 1 }, ARENA);
    let seed = 0x9e3779b97f4a7c15n;
    this.engine = createEngine({
      ...parts,
      memory: this.memory,
      area: AREA,
      frames: FRAMES,
      arenaSize: ARENA,
      maker,
      ...options,
      host: {
        now: () => process.hrtime.bigint(),
        random: () => {
          seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
          return BigInt.asIntN(64, seed);
        },
        stopOthers: () => 1,
        resumeOthers: () => {},
      },
    });
    this.nextFrame = Math.ceil((AREA + areaLayout(AREA, FRAMES, ARENA).size) / 4096);
    this.cpu = this.allocate() * 4096;
    this.root = this.allocate() * 4096;
    this.reset();
  }

  /** Registers as after `setvcpucontext` of an empty PV vCPU. */
  reset(mode: 0 | 1 = 0): void {
    this.u8.fill(0, this.cpu, this.cpu + CpuState.size);
    this.set32('cpl', 3);
    this.set32('mode', mode);
    this.set64('efer', 0xd01n);
    this.set64('cr0', 0x8005003bn & ~8n);
    this.set64('cr4', 0x620n);
    this.set64('xcr0', 3n);
    this.set64('rflags', 0x202n);
    this.set64('fz', 1n);
    this.set64('fs', 1n);
    this.set32('mxcsr', 0x1f80);
    this.view.setUint16(this.cpu + off.fcw, 0x37f, true);
    this.set32('domain', 1);
    const sel = [0x2b, mode ? 0x23 : 0x33, 0x2b, 0x2b, 0, 0, 0, 0];
    for (const [i, s] of sel.entries()) this.view.setUint16(this.cpu + off.sel + i * 2, s, true);
    this.call('tlb_switch', this.cpu, this.root, 0);
  }

  /** A fresh zeroed frame's number. */
  allocate(): number {
    const f = this.nextFrame++;
    if (f >= FRAMES) throw new Error('sandbox: out of memory');
    this.u8.fill(0, f * 4096, f * 4096 + 4096);
    return f;
  }

  /** Address of the L1 entry of va, tables made as needed. */
  pte(va: bigint): number {
    let table = this.root;
    for (const shift of [39n, 30n, 21n]) {
      const e = table + Number((va >> shift) & 511n) * 8;
      let v = this.view.getBigUint64(e, true);
      if (!(v & PTE.P)) {
        v = (BigInt(this.allocate()) << 12n) | PTE.P | PTE.RW | PTE.US;
        this.view.setBigUint64(e, v, true);
      }
      table = Number(v & 0xffffff000n);
    }
    return table + Number((va >> 12n) & 511n) * 8;
  }

  /** Map a page (a fresh frame unless given); returns the frame's number. */
  map(va: bigint, flags: bigint = PTE.P | PTE.RW | PTE.US, frame = this.allocate()): number {
    this.view.setBigUint64(this.pte(va), (BigInt(frame) << 12n) | flags, true);
    this.call('tlb_flush_page', 1, va);
    return frame;
  }
  /** Have a page that may be written in the TLB. */
  touch(va: bigint): void {
    this.call('probe_write', this.cpu, va, 1);
  }
  unmap(va: bigint): void {
    this.view.setBigUint64(this.pte(va), 0n, true);
    this.call('tlb_flush_page', 1, va);
  }
  /** Put bytes at a linear address (mapped), as a device would: decoded code there is dropped. */
  poke(va: bigint, bytes: ArrayLike<number>): void {
    for (let i = 0; i < bytes.length; i++) {
      const a = va + BigInt(i);
      const e = this.view.getBigUint64(this.pte(a), true);
      const host = Number((e & 0xffffff000n) | (a & 0xfffn));
      this.u8[host] = bytes[i];
      this.call('code_written', host >>> 12, host & 0xfff, 1);
    }
  }
  peek(va: bigint, n: number): Uint8Array {
    const out = new Uint8Array(n);
    for (let i = 0; i < n; i++) {
      const a = va + BigInt(i);
      const e = this.view.getBigUint64(this.pte(a), true);
      out[i] = this.u8[Number((e & 0xffffff000n) | (a & 0xfffn))];
    }
    return out;
  }

  call(name: string, ...args: (number | bigint)[]): unknown {
    const f = this.engine.exports[name] as unknown as (...a: (number | bigint)[]) => unknown;
    if (!f) throw new Error(`runtime exports no ${name}`);
    return f(...args);
  }

  gpr(n: number): bigint {
    return this.view.getBigUint64(this.cpu + off.gpr + n * 8, true);
  }
  setGpr(n: number, v: bigint): void {
    this.view.setBigUint64(this.cpu + off.gpr + n * 8, BigInt.asUintN(64, v), true);
  }
  get64(f: keyof typeof off): bigint {
    return this.view.getBigUint64(this.cpu + off[f], true);
  }
  set64(f: keyof typeof off, v: bigint): void {
    this.view.setBigUint64(this.cpu + off[f], BigInt.asUintN(64, v), true);
  }
  get32(f: keyof typeof off): number {
    return this.view.getUint32(this.cpu + off[f], true);
  }
  set32(f: keyof typeof off, v: number): void {
    this.view.setUint32(this.cpu + off[f], v, true);
  }

  /** Run from `rip` with fuel for `instructions`; returns EXIT.*. */
  run(rip: bigint, instructions = 1000): number {
    this.set64('rip', rip);
    this.view.setInt32(this.cpu + off.fuel, instructions * 32, true);
    return this.engine.exports.run(this.cpu);
  }
}
