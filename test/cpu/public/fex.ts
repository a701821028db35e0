/**
 * Runs FEX-Emu's assembly tests (unittests/ASM, unittests/32Bit_ASM of github.com/FEX-Emu/FEX, not part of this
 * repository) in the interpreter: `node test/cpu/public/fex.ts CHECKOUT/unittests [name-part…]`. Each file is assembled
 * by nasm, loaded at 64 KiB with the memory that its JSON head asks for, and run up to its `hlt`; then the registers that
 * the head names are compared.
 */
import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CpuState, EXIT, VEC } from '../../../src/engine/state.ts';
import { Sandbox } from '../../engine/sandbox.ts';

const { off } = CpuState;
const PAGE = 4096;
const CODE = 0x1_0000n;
const STACK_32 = 0xc000_0000n;
const LDT = 0xf000_0000n;
const HLT = 0xf4;
/** Put before a test by the suite's build. */
const HEAD_64 = 'BITS 64';
const HEAD_32 = 'BITS 32\norg 10000h\nmov eax, 0x17\nmov ds, ax\nmov es, ax';
const FUEL = 50_000_000;
const STEP = 100_000;

interface Head {
  readonly RegData?: Record<string, string | string[]>;
  readonly MemoryRegions?: Record<string, string>;
  readonly MemoryData?: Record<string, string>;
  readonly HostFeatures?: readonly string[];
  readonly Env?: Record<string, string>;
  readonly Mode?: string;
}

/** Extensions beyond x86-64-v2, not offered. */
const NOT_OFFERED = new Set(
  '3DNOW EMMI SSE4A AVX SHA CLZERO BMI1 BMI2 CLWB AES AES256 AFP PCLMUL MOVBE ADX'.split(' '),
);
for (const f of ['RDPID', 'CLFLOPT']) NOT_OFFERED.add(f);

/** Expectations that do not hold here, each with its reason; what differs from them is not compared. */
const KNOWN: readonly (readonly [files: RegExp, why: string])[] = [
  [/Primary_E[89]\.asm|5_FF_05/, 'Intel and AMD differ by design: 66 on near branches, REX.W on far ones'],
  [/X87\/D9_F2\.asm/, 'the last bit of fptan'],
  [/X87\/D9_F9\.asm/, 'fyl2xp1 outside its range'],
  [/FXAM_Simple|X87MMXInteraction/, 'the suite expects less than a processor does, and says so'],
  [/Secondary\/07_XX_0[04]\.asm/, 'a kernel that emulates sgdt and smsw (UMIP)'],
  [/Primary_8C|Pop_Segments/, 'loads selectors without a descriptor'],
  [/F3_BD_[234]\.asm/, 'LZCNT is not offered'],
  [/0F_31\.asm/, 'no clock behind rdtsc'],
  [/modrm_oob|REX\/0F_38\.asm|VEXW_Bug|o16_cvttss2si|o16_movd|pdep_overlap|vroundscalar/, 'undeclared extension'],
];

/** Bytes of memory a test may ask for. */
const MOST_MEMORY = 32 << 20;

/** In the order of register numbers. */
const GPRS = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ');

/** Exits that need an operating system or a hypervisor behind them. */
const NEEDS: Record<number, string> = {
  [EXIT.SYSCALL]: 'system call',
  [EXIT.SYSENTER]: 'system call',
  [EXIT.CPUID]: 'CPUID',
  [EXIT.SOFTINT]: 'software interrupt',
};

type Result = { readonly skip: string } | { readonly failures: string[] };

class Runner {
  private readonly s = new Sandbox();
  private readonly frames: number[] = [];
  private readonly mapped = new Map<bigint, number>();
  private readonly folder = mkdtempSync(join(tmpdir(), 'fex-'));

  constructor() {
    const gdt = this.s.allocate();
    this.s.view.setBigUint64(gdt * PAGE + 0x20, 0x00cffb000000ffffn, true); // 0x23: 32-bit code
    this.s.view.setBigUint64(gdt * PAGE + 0x28, 0x00cff3000000ffffn, true); // 0x2b: data
    this.s.view.setBigUint64(gdt * PAGE + 0x30, 0x00affb000000ffffn, true); // 0x33: 64-bit code
    this.gdt = gdt;
  }
  private readonly gdt: number;

  close(): void {
    rmSync(this.folder, { recursive: true });
  }

  private map(at: bigint, size: bigint): void {
    for (let a = at & ~0xfffn; a < at + size; a += 4096n) {
      if (this.mapped.has(a)) continue;
      const frame = this.frames.pop() ?? this.s.allocate();
      this.s.u8.fill(0, frame * PAGE, frame * PAGE + PAGE);
      this.s.call('code_written', frame, 0, PAGE);
      this.mapped.set(a, this.s.map(a, undefined, frame));
    }
  }

  private unmapAll(): void {
    for (const [a, frame] of this.mapped) {
      this.s.unmap(a);
      this.frames.push(frame);
    }
    this.mapped.clear();
  }

  private assemble(source: string, includes: string, long: boolean): Uint8Array {
    const from = join(this.folder, 'case.asm');
    const to = join(this.folder, 'case.bin');
    writeFileSync(from, `${long ? HEAD_64 : HEAD_32}\n${source}\nret\n`);
    execFileSync('nasm', ['-w-all', '-i', `${includes}/`, from, '-o', to], { stdio: ['ignore', 'ignore', 'pipe'] });
    return readFileSync(to);
  }

  run(file: string, includes: string): Result {
    const source = readFileSync(file, 'latin1');
    const json = /%ifdef CONFIG(.*?)%endif/s.exec(source)?.[1];
    if (!json) return { skip: 'no head' };
    const head = JSON.parse(json) as Head;
    const missing = head.HostFeatures?.find((f) => NOT_OFFERED.has(f.toUpperCase()));
    if (missing) return { skip: `${missing} is not offered` };
    if (head.Env?.FEX_X87REDUCEDPRECISION) return { skip: 'x87 of reduced precision' };
    const long = head.Mode?.toUpperCase() !== '32BIT';
    const memory = Object.values(head.MemoryRegions ?? {}).reduce((sum, n) => sum + Number(n), 0);
    if (memory > MOST_MEMORY) return { skip: 'much memory' };
    const code = this.assemble(source, includes, long);
    this.load(head, code, long);
    const stop = this.execute();
    const result = typeof stop === 'string' ? { failures: [stop] } : (stop ?? { failures: this.compare(head) });
    this.unmapAll();
    return result;
  }

  private load(head: Head, code: Uint8Array, long: boolean): void {
    const { s } = this;
    s.reset(long ? 0 : 1);
    s.set32('gdt_frames', this.gdt);
    s.set32('gdt_limit', 127);
    s.set64('cr4', 0x50620n);
    this.map(0xe000_0000n, 40960n);
    this.map(0xe800_0000n - 4096n, 8192n);
    this.map(CODE, BigInt(code.length));
    for (const [at, size] of Object.entries(head.MemoryRegions ?? {})) this.map(BigInt(at), BigInt(size));
    if (!long) this.load32();
    s.poke(CODE, code);
    for (const [at, text] of Object.entries(head.MemoryData ?? {})) {
      const bytes = text.split(' ').flatMap((n) => [...Buffer.from(n.replace(/^0x/i, ''), 'hex')].reverse());
      s.poke(BigInt(at), bytes);
    }
  }

  /** The stack, and an LDT with the code, data and stack descriptors that the suite's own runner makes. */
  private load32(): void {
    const { s } = this;
    this.map(STACK_32, 4096n);
    this.map(LDT, 4096n);
    const ldt = Buffer.alloc(32);
    for (const [i, d] of [0x00cffb000000ffffn, 0x00cff3000000ffffn, 0x00cff3000000ffffn].entries()) {
      ldt.writeBigUInt64LE(d, (i + 1) * 8);
    }
    s.poke(LDT, ldt);
    s.set64('ldt_base', LDT);
    s.set32('ldt_ents', 4);
  }

  /** What is wrong, why it cannot be run, or undefined at the closing `hlt`. */
  private execute(): string | { skip: string } | undefined {
    const { s } = this;
    let reason = EXIT.PREEMPT as number;
    s.set64('rip', CODE);
    for (let fuel = FUEL; reason === EXIT.PREEMPT; fuel -= STEP) {
      if (fuel <= 0) return 'does not end';
      s.view.setInt32(s.cpu + off.fuel, STEP * 32, true);
      reason = s.engine.exports.run(s.cpu);
    }
    const rip = s.get64('rip');
    const where = `at ${(rip - CODE).toString(16)}`;
    const bytes = () => (this.mapped.has(rip & ~0xfffn) ? s.peek(rip, Math.min(8, 4096 - Number(rip & 0xfffn))) : []);
    if (reason === EXIT.PRIVILEGED) {
      if (bytes()[0] === HLT) return undefined;
      return { skip: `privileged instruction` };
    }
    if (NEEDS[reason]) return { skip: NEEDS[reason] };
    const vector = s.get32('exit_vector');
    const name = Object.entries(VEC).find(([, v]) => v === vector)?.[0] ?? vector;
    const cr2 = vector === VEC.PF ? ` cr2 ${s.get64('cr2').toString(16)}` : '';
    return `exit ${reason} #${name} ${where}: ${Buffer.from(bytes()).toString('hex')}${cr2}`;
  }

  private compare(head: Head): string[] {
    const out: string[] = [];
    const { s } = this;
    const vector = (at: number, n: number) => s.view.getBigUint64(s.cpu + at + n * 8, true);
    const check = (name: string, is: bigint, want: string) => {
      if (is !== BigInt.asUintN(64, BigInt(want.replaceAll('_', ''))))
        out.push(`${name} ${is.toString(16)}, expected ${want}`);
    };
    for (const [given, wanted] of Object.entries(head.RegData ?? {})) {
      const values = typeof wanted === 'string' ? [wanted] : wanted;
      const name = given.toUpperCase();
      const n = Number(/\d+$/.exec(name)?.[0]);
      const gpr = GPRS.indexOf(name);
      if (gpr >= 0) check(name, s.gpr(gpr), values[0]);
      else if (name.startsWith('XMM'))
        for (const i of [0, 1]) check(`${name}.${i}`, vector(off.xmm + n * 16, i), values[i]);
      else if (name.startsWith('MM')) {
        check(name, vector(off.st + n * 16, 0), values[0]);
        if (values[1]) check(`${name}.se`, vector(off.st + n * 16, 1) & 0xffffn, values[1]);
      } else if (name === 'FS') check(name, vector(off.segbase, 4), values[0]);
      else if (name === 'GS') check(name, vector(off.segbase, 5), values[0]);
      else if (name === 'RIP') check(name, s.get64('rip'), values[0]);
      else throw new Error(`register ${name}`);
    }
    return out;
  }
}

const [root, ...parts] = process.argv.slice(2);
if (!root) throw new Error('fex.ts CHECKOUT/unittests [name-part…]');
const runner = new Runner();
const skipped = new Map<string, number>();
let passed = 0;
let failed = 0;
for (const file of globSync('{ASM,32Bit_ASM}/**/*.asm', { cwd: root }).sort()) {
  if (parts.length && !parts.some((p) => file.includes(p))) continue;
  const result = runner.run(join(root, file), join(root, 'ASM/Includes'));
  if ('skip' in result) skipped.set(result.skip, (skipped.get(result.skip) ?? 0) + 1);
  else if (result.failures.length === 0) passed++;
  else {
    const known = KNOWN.find(([re]) => re.test(file));
    if (known) {
      skipped.set(known[1], (skipped.get(known[1]) ?? 0) + 1);
      continue;
    }
    failed++;
    console.log(`${file}\n  ${result.failures.join('\n  ')}`);
  }
}
runner.close();
console.log(`\n${passed} passed, ${failed} failed`);
for (const [why, n] of [...skipped].sort((a, b) => b[1] - a[1])) console.log(`${n} skipped: ${why}`);
