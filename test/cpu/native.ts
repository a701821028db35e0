/** Runs cases on the real CPU: builds native/harness.c with the system's C compiler and talks to it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyOverrides, type Case, diffBlocks, type Outcome, type Poke } from './case.ts';
import { Block, baseState, DEFAULT_AT, hideUpperHalves, WINDOW_PATTERN } from './state.ts';

const HARNESS = new URL('./native/harness.c', import.meta.url).pathname;

function pokeBytes(pokes: readonly Poke[]): Buffer {
  return Buffer.concat(
    pokes.map((p) => {
      const b = Buffer.alloc(8 + ((p.bytes.length + 7) & ~7));
      b.writeUInt32LE(p.offset, 0);
      b.writeUInt32LE(p.bytes.length, 4);
      b.set(p.bytes, 8);
      return b;
    }),
  );
}

/** What the harness reads: the window's contents, then each case. */
function input(cases: readonly Case[]): Buffer {
  const parts: Uint8Array[] = [WINDOW_PATTERN];
  for (const c of cases) {
    const pokes = pokeBytes(c.pokes);
    const h = Buffer.alloc(88);
    h.writeUInt32LE(c.code.length, 0);
    h.writeBigUInt64LE(BigInt(c.at), 8);
    h.writeUInt32LE(pokes.length, 16);
    if (c.code.length > 64) throw new Error('code of a case is at most 64 bytes');
    h.set(c.code, 24);
    parts.push(h, applyOverrides(baseState(c.seed, c.mode), c), pokes);
  }
  return Buffer.concat(parts);
}

const BREAKPOINT = 3;
export const PAGE_FAULT = 14;
/** RF is an artefact of fault delivery. */
const RF = 0x10000n;

function output(cases: readonly Case[], out: Buffer): Outcome[] {
  let at = 0;
  return cases.map((c) => {
    const vector = out.readUInt32LE(at);
    const error = out.readUInt32LE(at + 4);
    const cr2 = out.readBigUInt64LE(at + 8);
    const deltas = out.readUInt32LE(at + 20);
    at += 24;
    const block = Buffer.from(out.subarray(at, at + Block.size));
    at += Block.size;
    const memory: Poke[] = [];
    for (const end = at + deltas; at < end; ) {
      const offset = out.readUInt32LE(at);
      const len = out.readUInt32LE(at + 4);
      memory.push({ offset, bytes: new Uint8Array(out.subarray(at + 8, at + 8 + len)) });
      at += 8 + ((len + 7) & ~7);
    }
    const rip = block.readBigUInt64LE(Block.off.rip);
    const flags = block.readBigUInt64LE(Block.off.rflags) & ~RF;
    block.writeBigUInt64LE(flags, Block.off.rflags);
    hideUpperHalves(block, c.mode);
    const before = applyOverrides(baseState(c.seed, c.mode), c);
    const ended = vector === BREAKPOINT;
    return {
      ip: ended ? rip - 1n : rip,
      exception: ended ? null : { vector, error, cr2: vector === PAGE_FAULT ? cr2 : 0n },
      changed: diffBlocks(before, block),
      memory,
    };
  });
}

/** A built harness. */
export class NativeCpu {
  private readonly dir: string;
  private readonly program: string;

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'xenolith-cpu-'));
    this.program = join(this.dir, 'harness');
    execFileSync('gcc', ['-O1', '-Wall', '-Werror', '-fno-stack-protector', '-o', this.program, HARNESS]);
  }

  run(cases: readonly Case[]): Outcome[] {
    const r = spawnSync(this.program, [], { input: input(cases), maxBuffer: 1 << 30 });
    if (r.status !== 0) throw new Error(`the native harness ended with ${r.status ?? r.signal}`);
    return output(cases, r.stdout);
  }

  /**
   * Whether this machine starts such cases at all. Kernels may lack the 32-bit code segment, and a virtual machine's
   * may be unable to return to a program whose stack pointer is not canonical: #GP at the case's first byte then.
   */
  starts(kind: { mode: 0 | 1; sp: bigint }): boolean {
    const over = new Map([['sp', kind.sp.toString(16)]]);
    const nop: Case = { mode: kind.mode, at: DEFAULT_AT, code: Uint8Array.of(0x90), seed: 1, over, pokes: [] };
    return this.run([nop])[0].exception === null;
  }

  close(): void {
    rmSync(this.dir, { recursive: true });
  }
}
