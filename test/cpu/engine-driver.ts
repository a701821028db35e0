/** Runs cases in the engine: the window and the code region mapped into a sandbox's address space, one vCPU at CPL 3. */
import { CpuState, EXIT, VEC } from '../../src/engine/state.ts';
import { Sandbox } from '../engine/sandbox.ts';
import { getStatusWord, setStatusWord } from '../engine/status-word.ts';
import { applyOverrides, type Case, diffBlocks, type Exception, type Outcome, type Poke } from './case.ts';
import type { CpuDriver } from './driver.ts';
import { Block, baseState, CODE, CODE_SIZE, hideUpperHalves, WINDOW, WINDOW_PATTERN, WINDOW_SIZE } from './state.ts';

const { off } = CpuState;
const PAGE = 4096;
const INT3 = 0xcc;
/** Instructions between two looks at a case that runs. */
const TURN = 1000;

/** Status flags as the lazy words say (src/engine/flags.ts). */
function readFlags(v: DataView, cpu: number): bigint {
  const fz = v.getBigUint64(cpu + off.fz, true);
  const fs = v.getBigUint64(cpu + off.fs, true);
  const fc = v.getBigUint64(cpu + off.fc, true);
  const fx = v.getBigUint64(cpu + off.fx, true);
  const cf = fc >> 63n;
  const of = cf ^ ((fc >> 62n) & 1n);
  let p = Number(fs & 0xffn);
  p ^= p >> 4;
  p ^= p >> 2;
  p ^= p >> 1;
  const af = ((fx ^ fs) >> 4n) & 1n;
  const status =
    cf | (BigInt(~p & 1) << 2n) | (af << 4n) | ((fz === 0n ? 1n : 0n) << 6n) | ((fs >> 63n) << 7n) | (of << 11n);
  return (v.getBigUint64(cpu + off.rflags, true) & ~0x8d5n) | status;
}

function writeFlags(v: DataView, cpu: number, f: bigint): void {
  const bit = (n: bigint) => (f >> n) & 1n;
  v.setBigUint64(cpu + off.fz, bit(6n) ? 0n : 1n, true);
  const fs = (bit(7n) << 63n) | (bit(2n) ? 0n : 1n);
  v.setBigUint64(cpu + off.fs, fs, true);
  v.setBigUint64(cpu + off.fc, (bit(0n) << 63n) | ((bit(0n) ^ bit(11n)) << 62n), true);
  v.setBigUint64(cpu + off.fx, bit(4n) << 4n, true);
  v.setBigUint64(cpu + off.rflags, f & ~0x8d5n, true);
}

export class EngineDriver implements CpuDriver {
  readonly name: string = 'interpreter';
  /** Has the last case written over its own code? */
  overwritten = false;
  /** Most instructions of a case: a long rep string instruction needs some. */
  private readonly limit: number;
  protected readonly sandbox = new Sandbox();
  private readonly window: Uint8Array[] = [];
  private readonly gdt: number;
  private readonly code: { readonly frame: number; readonly bytes: Uint8Array }[] = [];

  constructor(limit = 100_000) {
    this.limit = limit;
    const s = this.sandbox;
    for (let at = 0; at < WINDOW_SIZE; at += PAGE) {
      const f = s.map(BigInt(WINDOW + at));
      this.window.push(s.u8.subarray(f * PAGE, f * PAGE + PAGE));
    }
    for (let at = 0; at < CODE_SIZE; at += PAGE) {
      const frame = s.map(BigInt(CODE + at));
      const bytes = s.u8.subarray(frame * PAGE, frame * PAGE + PAGE);
      bytes.fill(INT3);
      this.code.push({ frame, bytes });
    }
    // The descriptors that the recording kernel has for user programs.
    const gdt = s.allocate();
    s.view.setBigUint64(gdt * PAGE + 0x20, 0x00cffb000000ffffn, true); // 0x23: 32-bit code
    s.view.setBigUint64(gdt * PAGE + 0x28, 0x00cff3000000ffffn, true); // 0x2b: data
    s.view.setBigUint64(gdt * PAGE + 0x30, 0x00affb000000ffffn, true); // 0x33: 64-bit code
    this.gdt = gdt;
  }

  run(cases: readonly Case[]): Outcome[] {
    return cases.map((c) => this.one(c));
  }

  /** Enter guest code at cpu.rip; another tier overrides it. */
  protected enter(): number {
    return this.sandbox.engine.exports.run(this.sandbox.cpu);
  }

  private putCode(at: number, bytes: ArrayLike<number>): void {
    for (let done = 0; done < bytes.length; ) {
      const a = at + done - CODE;
      const page = this.code[Math.floor(a / PAGE)];
      const from = a % PAGE;
      const n = Math.min(bytes.length - done, PAGE - from);
      this.sandbox.call('code_written', page.frame, from, n);
      for (let i = 0; i < n; i++) page.bytes[from + i] = bytes[done + i];
      done += n;
    }
  }

  private hasCode(at: number, bytes: ArrayLike<number>): boolean {
    for (let i = 0; i < bytes.length; i++) {
      const a = at + i - CODE;
      if (this.code[Math.floor(a / PAGE)].bytes[a % PAGE] !== bytes[i]) return false;
    }
    return true;
  }

  private load(c: Case, block: Uint8Array): void {
    const s = this.sandbox;
    const { cpu, view } = s;
    const b = new DataView(block.buffer, block.byteOffset);
    s.reset(c.mode);
    s.set32('gdt_frames', this.gdt);
    s.set32('gdt_limit', 127);
    s.u8.set(block.subarray(Block.off.gpr, Block.off.gpr + 128), cpu + off.gpr);
    writeFlags(view, cpu, b.getBigUint64(Block.off.rflags, true));
    view.setUint32(cpu + off.mxcsr, b.getUint32(Block.off.mxcsr, true), true);
    for (const f of ['fcw', 'ftw', 'fop'] as const) {
      view.setUint16(cpu + off[f], b.getUint16(Block.off[f], true), true);
    }
    setStatusWord(view, cpu, b.getUint16(Block.off.fsw, true));
    view.setBigUint64(cpu + off.segbase + 4 * 8, b.getBigUint64(Block.off.fsbase, true), true);
    view.setBigUint64(cpu + off.segbase + 5 * 8, b.getBigUint64(Block.off.gsbase, true), true);
    view.setBigUint64(cpu + off.cr4, 0x50620n, true); // PAE MCE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE
    s.u8.set(block.subarray(Block.off.st, Block.off.st + 128), cpu + off.st);
    s.u8.set(block.subarray(Block.off.xmm, Block.off.xmm + 256), cpu + off.xmm);
  }

  private store(c: Case): Uint8Array {
    const { cpu, view, u8 } = this.sandbox;
    const block = new Uint8Array(Block.size);
    const b = new DataView(block.buffer);
    const slice = (at: number, n: number) => u8.subarray(cpu + at, cpu + at + n);
    block.set(slice(off.gpr, 128), Block.off.gpr);
    b.setBigUint64(Block.off.rflags, readFlags(view, cpu), true);
    b.setUint32(Block.off.cs, view.getUint16(cpu + off.sel + 2, true), true);
    b.setUint32(Block.off.mxcsr, view.getUint32(cpu + off.mxcsr, true), true);
    for (const f of ['fcw', 'ftw', 'fop'] as const) {
      b.setUint16(Block.off[f], view.getUint16(cpu + off[f], true), true);
    }
    b.setUint16(Block.off.fsw, getStatusWord(view, cpu), true);
    b.setBigUint64(Block.off.fip, view.getBigUint64(cpu + off.fip, true), true);
    b.setBigUint64(Block.off.fdp, view.getBigUint64(cpu + off.fdp, true), true);
    b.setBigUint64(Block.off.fsbase, view.getBigUint64(cpu + off.segbase + 32, true), true);
    b.setBigUint64(Block.off.gsbase, view.getBigUint64(cpu + off.segbase + 40, true), true);
    for (let i = 0; i < 8; i++) block.set(slice(off.st + i * 16, 10), Block.off.st + i * 16);
    block.set(slice(off.xmm, 256), Block.off.xmm);
    hideUpperHalves(block, c.mode);
    return block;
  }

  private one(c: Case): Outcome {
    const s = this.sandbox;
    for (const [i, page] of this.window.entries()) page.set(WINDOW_PATTERN.subarray(i * PAGE, i * PAGE + PAGE));
    const before = WINDOW_PATTERN.slice();
    for (const p of c.pokes) {
      before.set(p.bytes, p.offset);
      for (let i = 0; i < p.bytes.length; i++) {
        const at = p.offset + i;
        this.window[at >> 12][at & 4095] = p.bytes[i];
      }
    }
    this.putCode(c.at, c.code);
    const block = applyOverrides(baseState(c.seed, c.mode), c);
    this.load(c, block);
    s.set64('rip', BigInt(c.at));
    let reason: number;
    let fuel = this.limit;
    do {
      s.view.setInt32(s.cpu + off.fuel, TURN * 32, true);
      reason = this.enter();
      fuel -= TURN;
    } while (reason === EXIT.PREEMPT && fuel > 0);
    const after = this.store(c);
    this.overwritten = !this.hasCode(c.at, c.code);
    this.putCode(c.at, new Uint8Array(c.code.length).fill(INT3));
    const { ip, exception } = this.ending(reason);
    return { ip, exception, changed: diffBlocks(block, after), memory: this.memoryChanges(before) };
  }

  /** Exits as the kernel of the recording machine would report them. */
  private ending(reason: number): { ip: bigint; exception: Exception | null } {
    const s = this.sandbox;
    const rip = s.get64('rip');
    const vector = s.get32('exit_vector');
    const length = BigInt(s.get32('exit_len'));
    const fault = (vector: number, error = 0, cr2 = 0n) => ({ ip: rip, exception: { vector, error, cr2 } });
    switch (reason) {
      case EXIT.EXCEPTION:
        return fault(vector, s.get32('exit_error'), vector === VEC.PF ? s.get64('cr2') : 0n);
      case EXIT.SOFTINT:
        if (vector === VEC.BP) return { ip: rip + length - 1n, exception: null };
        if (vector === VEC.OF) return { ip: rip + length, exception: { vector, error: 0, cr2: 0n } };
        return fault(VEC.GP, vector * 8 + 2);
      case EXIT.PRIVILEGED:
        return fault(VEC.GP);
      default:
        return fault(-1 - reason);
    }
  }

  private memoryChanges(before: Uint8Array): Poke[] {
    const out: Poke[] = [];
    for (const [page, bytes] of this.window.entries()) {
      const old = before.subarray(page * PAGE, page * PAGE + PAGE);
      if (Buffer.compare(bytes, old) === 0) continue;
      for (let i = 0; i < PAGE; i++) {
        if (bytes[i] === old[i]) continue;
        const from = i;
        while (i < PAGE && bytes[i] !== old[i]) i++;
        out.push({ offset: page * PAGE + from, bytes: bytes.slice(from, i) });
      }
    }
    return out;
  }
}
