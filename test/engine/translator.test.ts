/** One block, translated from the descriptions the interpreter is made from, against the interpreter. */
import { describe, expect, it } from 'vitest';
import { InstructionDecoder } from '../../src/engine/decode/decode.ts';
import { describe as record } from '../../src/engine/interpreter/generate.ts';
import { forms } from '../../src/engine/semantics/forms.ts';
import { allEncodings } from '../../src/engine/semantics/index.ts';
import { CpuState, EXIT, GPR, VEC } from '../../src/engine/state.ts';
import { type BlockInstruction, translateBlock } from '../../src/engine/translator/block.ts';
import { Sandbox } from './sandbox.ts';

const encodings = allEncodings();
const decoder = new InstructionDecoder(encodings);
const CODE = 0x400000n;
const DATA = 0x10000000n;

/** Decode straight-line code into what the translator takes. */
function block(code: number[]): BlockInstruction[] {
  const bytes = Uint8Array.from([...code, ...Array(16).fill(0)]);
  const out: BlockInstruction[] = [];
  for (let at = 0; at < code.length; ) {
    const d = decoder.decode(bytes, at, bytes.length, 0);
    if (typeof d === 'string') throw new Error(`byte ${at}: ${d}`);
    const e = encodings[d.encoding];
    const f = [...forms(e)].find((x) => x.key === d.key)!;
    at += d.length;
    out.push({ encoding: e, form: f.form, code: record(e, f), d, next: at });
  }
  return out;
}

// add rax,[rsi]; sub rcx,0x10; adc? (as add) [rsi+8],rax; xor edx,ecx; and bl,0x0f; add ah,bl; cmp rax,rcx
const PROGRAM = [
  [0x48, 0x03, 0x06],
  [0x48, 0x83, 0xe9, 0x10],
  [0x48, 0x01, 0x46, 0x08],
  [0x31, 0xca],
  [0x80, 0xe3, 0x0f],
  [0x00, 0xdc],
  [0x66, 0x81, 0xc7, 0x34, 0x12],
  [0x48, 0x39, 0xc8],
].flat();

function prepare(): Sandbox {
  const s = new Sandbox();
  s.map(CODE);
  s.map(DATA);
  s.poke(DATA, [9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
  s.poke(CODE, [...PROGRAM, 0x0f, 0x0b]);
  for (let n = 0; n < 16; n++) s.setGpr(n, 0x0123456789abcdefn * BigInt(n + 3));
  s.setGpr(GPR.RSI, DATA);
  // Both tiers find the data page in the TLB.
  s.call('probe_write', s.cpu, DATA, 8);
  return s;
}

function state(s: Sandbox) {
  return {
    gprs: Array.from({ length: 16 }, (_, n) => s.gpr(n)),
    flags: s.call('rflags_get', s.cpu),
    rip: s.get64('rip'),
    icount: s.get64('icount'),
    data: [...s.peek(DATA, 16)],
  };
}

function runBlock(s: Sandbox, bytes: Uint8Array<ArrayBuffer>): number {
  const i = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory: s.memory } });
  s.set64('page', CODE);
  return (i.exports.block as (cpu: number) => number)(s.cpu);
}

describe('a translated block', () => {
  it('does what the interpreter does', () => {
    const a = prepare();
    expect(a.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(a.get32('exit_vector')).toBe(VEC.UD);
    const b = prepare();
    expect(runBlock(b, translateBlock(block(PROGRAM)))).toBe(0);
    expect(state(b)).toEqual(state(a));
  });

  it('leaves at a TLB miss with everything before done and nothing of that instruction', () => {
    const s = prepare();
    s.call('tlb_flush_page', 1, DATA);
    const before = s.gpr(GPR.RAX);
    // add rax, rcx; then add rax, [rsi] misses.
    const code = [0x48, 0x01, 0xc8, 0x48, 0x03, 0x06];
    expect(runBlock(s, translateBlock(block(code)))).toBe(1);
    expect(s.get64('rip')).toBe(CODE + 3n);
    expect(s.get64('icount')).toBe(1n);
    expect(s.gpr(GPR.RAX)).toBe(BigInt.asUintN(64, before + s.gpr(GPR.RCX)));
  });

  it('holds no guest address', () => {
    const text = Buffer.from(translateBlock(block(PROGRAM))).toString('hex');
    expect(text).not.toContain('00004000');
    expect(CpuState.size).toBeGreaterThan(0);
  });
});
