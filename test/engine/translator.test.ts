/** Regions of translated code in a bare engine: against the interpreter, and where they meet it. */
import { describe, expect, it } from 'vitest';
import { CpuState, EXIT, GPR, VEC } from '../../src/engine/state.ts';
import { Library, type Translation } from '../../src/engine/translator/library.ts';
import type { Delivery, Order, Workshop } from '../../src/engine/translator/maker.ts';
import { decodeSaved, encodeSaved, mergeSaved } from '../../src/engine/translator/saved.ts';
import type { TranslatorOptions } from '../../src/engine/translator/translator.ts';
import { Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const DATA = 0x10000000n;
const STACK = 0x7fff0000n;
const UD2 = [0x0f, 0x0b];
const SLICE_AT = CpuState.off.slice;
const hex = (s: string) => [...Buffer.from(s.replaceAll(' ', ''), 'hex')];

/** The code at CODE, data and stack mapped, registers with values that tell them apart. */
function prepare(code: readonly number[], translated: boolean, workshop?: Workshop): Sandbox {
  const s = new Sandbox({ workshop });
  for (const va of [CODE, CODE + 4096n, DATA, DATA + 4096n, STACK]) s.map(va);
  s.poke(CODE, code);
  fill(s);
  if (translated) expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
  return s;
}

/** Data, and registers, as code at CODE finds them. */
function fill(s: Sandbox): void {
  s.poke(DATA, [9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
  for (let n = 0; n < 16; n++) s.setGpr(n, 0x0123456789abcdefn * BigInt(n + 3));
  s.setGpr(GPR.RSI, DATA);
  s.setGpr(GPR.RSP, STACK + 0x800n);
  s.set64('rip', CODE);
  // Else translated code leaves each access to the interpreter, which goes on with what follows.
  for (const va of [DATA, DATA + 4096n, STACK]) s.touch(va);
}

function state(s: Sandbox) {
  return {
    gprs: Array.from({ length: 16 }, (_, n) => s.gpr(n).toString(16)),
    flags: s.call('rflags_get', s.cpu),
    rip: s.get64('rip'),
    icount: s.get64('icount'),
    exit: [s.get32('exit_reason'), s.get32('exit_vector'), s.get32('exit_error')],
    cr2: s.get64('cr2'),
    data: [...s.peek(DATA, 32)],
  };
}

/** Pieces of code, each run in both tiers: by its number, with `fuel` instructions; both must end alike. The translated one is returned. */
function bothOf(
  codes: readonly (readonly number[])[],
): (n: number, fuel: number, change?: (s: Sandbox) => void) => Sandbox {
  const at = (n: number) => CODE + BigInt(n * 0x100);
  const sides = [false, true].map((translated) => {
    const s = prepare([], false);
    for (const [n, code] of codes.entries()) s.poke(at(n), code);
    for (const n of translated ? codes.keys() : []) {
      s.set64('rip', at(n));
      expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
    }
    return s;
  });
  return (n, fuel, change) => {
    for (const s of sides) {
      s.reset();
      fill(s);
      change?.(s);
      s.run(at(n), fuel);
    }
    const [a, b] = sides;
    expect(state(b)).toEqual(state(a));
    return b;
  };
}

const both = (code: readonly number[], fuel = 1000, change?: (s: Sandbox) => void): Sandbox =>
  bothOf([code])(0, fuel, change);

describe('a region', () => {
  it('does straight code as the interpreter does', () => {
    // add rax,[rsi]; sub rcx,0x10; add [rsi+8],rax; xor edx,ecx; and bl,0x0f; add ah,bl; add di,0x1234; cmp rax,rcx
    both([...hex('480306 4883e910 48014608 31ca 80e30f 00dc 6681c73412 4839c8'), ...UD2]);
  });

  it('loops, and is left exactly when the fuel is used up, wherever that is', () => {
    // mov ecx,100; l: inc eax; test al,3; jz 1f; add rdx,rax; 1: dec ecx; jnz l
    const loop = [...hex('b964000000 ffc0 a803 7403 4801c2 ffc9 75f3'), ...UD2];
    both(loop);
    for (const fuel of [1, 2, 3, 4, 5, 6, 7, 8, 13, 29, 30, 31, 200]) both(loop, fuel);
  });

  it('calls and returns', () => {
    // mov ecx,5; l: push rcx; call f; pop rcx; loop l; ud2; f: lea rax,[rax+rcx]; ret
    both(hex('b905000000 51 e805000000 59 e2f7 0f0b 488d0408 c3'));
  });

  it('has a loop with two ways in', () => {
    // mov ecx,7; test eax,eax; jp b; a: inc rdx; b: dec ecx; jnz a
    both([...hex('b907000000 85c0 7a03 48ffc2 ffc9 75f9'), ...UD2]);
  });

  it('faults with everything before done and nothing of that instruction', () => {
    // add rax,rcx; cmp rax,rdx; mov [rsi+0x10000],rax
    const s = both(hex('4801c8 4839d0 48898600000100'));
    expect(s.get32('exit_vector')).toBe(VEC.PF);
    expect(s.get64('rip')).toBe(CODE + 6n);
  });

  it('goes on after a miss, over a page’s end, and with the exception of an instruction it left to the interpreter', () => {
    // mov rax,[rsi+0xffc]; mov [rsi+0xffd],rcx; lock add [rsi+0xffe],ecx; syscall
    const s = both(hex('488b86fc0f0000 48898efd0f0000 f0018efe0f0000 0f05'));
    expect(s.get32('exit_reason')).toBe(EXIT.SYSCALL);
  });

  it('finds no page in the TLB that is not there, by whatever address', () => {
    // mov rax,[rsi]; mov [rsi],rax
    const code = [...hex('488b06 488906'), ...UD2];
    const far = [1n << 63n, 1n << 47n, 1n << 12n, 0x1001n, 1n << 22n];
    for (const rsi of [0n, 0xffffffffffffff00n, 0x1000n, 0x1008n, ...far.map((bit) => DATA ^ bit)])
      for (const flush of [false, true])
        both(code, 1000, (s) => {
          s.setGpr(GPR.RSI, rsi);
          if (flush) s.call('tlb_flush_page', 1, DATA);
        });
  });

  it('has done nothing of an instruction that writes what it reads, if it faults late', () => {
    // enter 0x4000,12: the frame pointers that are copied lie where the copies go; the new top is not mapped.
    const s = both([...hex('c800400c'), ...UD2], 1000, (x) => {
      x.setGpr(GPR.RBP, STACK + 0x7fbn);
      x.poke(
        STACK + 0x780n,
        Uint8Array.from({ length: 0x80 }, (_, i) => i),
      );
    });
    expect(s.get32('exit_vector')).toBe(VEC.PF);
    expect([...s.peek(STACK + 0x780n, 0x80)]).toEqual(Array.from({ length: 0x80 }, (_, i) => i));
  });

  it('moves and fills strings', () => {
    // lea rdi,[rsi+64]; mov ecx,100; rep movsb; mov ecx,30; rep stosq; xor eax,eax
    both([...hex('488d7e40 b964000000 f3a4 b91e000000 f348ab 31c0'), ...UD2]);
  });

  it('keeps flags for whoever looks', () => {
    // each: an operation, then pushf; pop rax; add rdx,rax
    for (const op of [
      '4801c8',
      '4829c8',
      '4811c8',
      '4819c8',
      '21c8',
      'ffc0',
      'fec8',
      'c1e003',
      'd3f8',
      '0fafc1',
      'f7d8',
      '0fa3c8',
    ]) {
      for (const cf of ['f8', 'f9']) both([...hex(`${cf} ${op} 9c 58 4801c2 ${op} 0f97c3 0f9cc7 0f9ac1`), ...UD2]);
    }
  });

  it('keeps CF over inc and dec, whatever it was from', () => {
    // add sub adc sbb and inc dec shl sar imul neg bt eax; cmp al,0; popf; xor ecx,ecx (sub, sbb) itself
    const ops = '01c8 29c8 11c8 19c8 21c8 ffc0 fec8 c1e003 d1f8 0fafc1 f7d8 0fa3c8 3c00 509d 31db 29db 19db'.split(' ');
    const steps = ['fec0', 'fecc', '66ffc0', 'ffc8', '48ffc0', '48ffc8', '48ffc0 fec9'];
    // seta setge setl setg setp setb sets seto, of byte registers
    const looks = ['0f97c3', '0f9dc3', '0f9cc3', '0f9fc7', '0f9ac7', '0f92c3', '0f98c3', '0f90c3'];
    for (const [n, op] of ops.entries())
      for (const [m, step] of steps.entries()) {
        const other = ops[(n * 5 + m * 3 + 1) % ops.length];
        const look = looks[(n + m) % looks.length];
        // mov rdx,40; l: test dl,1; jz 1f; op; jmp 2f; 1: other; 2: step; look; pushf; pop rdi; add r8,rdi; dec rdx; jnz l
        const way = (x: string) => x.replaceAll(' ', '').length / 2;
        const byte = (x: number) => (x & 0xff).toString(16).padStart(2, '0');
        const body = `f6c201 74${byte(way(op) + 2)} ${op} eb${byte(way(other))} ${other} ${step} ${look} 9c 5f 4901f8 48ffca`;
        const loop = `48c7c228000000 ${body} 75${byte(-way(body) - 2)}`;
        // Without a look: what CF was from is of several kinds where a fault shows the flags, or another step follows.
        const unseen = `f6c201 74${byte(way(op) + 2)} ${op} eb${byte(way(other))} ${other} ${step}`;
        const fault = '48898600000100';
        const then = [fault, `48ffc1 ${fault}`, '0f92c1', '0f96c1', '0f94c1', '0f90c1'].map((x) => `${unseen} ${x}`);
        const run = bothOf([loop, ...then].map((x) => [...hex(x), ...UD2]));
        for (const fuel of [1000, 3, 4, 5, 6, 17, 18, 19]) run(0, fuel);
        for (const dl of [0n, 1n]) for (const i of then.keys()) run(1 + i, 1000, (x) => x.setGpr(GPR.RDX, dl));
      }
  });

  it('takes what is compared with 0 for what it is', () => {
    // cmp or sub of each size with 0, then each condition; pushf
    for (const op of ['3c00', '6683f800', '83f800', '4883f800', '83e800', '803e00', '48833e00'])
      for (const rax of [0n, 1n, -1n, 1n << 63n, 0x80n, 0x7fffffffn, 0xffffffff00000000n]) {
        const sets = Array.from({ length: 16 }, (_, cc) => `0f${(0x90 + cc).toString(16)}c1 01ca d1c2`).join(' ');
        both([...hex(`${op} ${sets} ${op} 9c 5f`), ...UD2], 1000, (x) => x.setGpr(GPR.RAX, rax));
      }
  });

  it('clears registers by themselves', () => {
    // xor sub sbb cmp of a register with itself, in each size, ah with ah and with al; pxor pcmpeqb pandn psubd xorps andnps and others of xmm1, pxor of mm1; then what is in them
    for (const op of [
      '31c0',
      '6631c0',
      '30c0',
      '30e0',
      '30e4',
      '4829c0',
      '28e4',
      '19c0',
      '4819c0',
      '18e4',
      '38e4',
      '38c4',
      '39c0',
    ])
      for (const cf of ['f8', 'f9']) both([...hex(`${cf} ${op} 9c 5f 01c2 480fc1c3`), ...UD2]);
    for (const op of '660fefc9 660f74c9 660fdfc9 660ffac9 0f57c9 0f55c9 660f57c9 660f55c9 660f64c9 660f66c9 660f3829c9 660fe8c9 660fd9c9'.split(
      ' ',
    ))
      both([...hex(`66480f6ec8 ${op} 66480f7ec8 660f6fd1 66480f7ed3`), ...UD2]);
    // movq mm1,rax; pxor mm1,mm1; movq rcx,mm1
    both([...hex('480f6ec8 0fefc9 480f7ec9'), ...UD2]);
  });

  it('does not outlive its code', () => {
    // l: mov byte [rip+1],cl (the immediate below); mov eax,imm32; add rdx,rax; dec ecx; jnz l
    const code = [...hex('b90a000000 880d01000000 b800000000 4801c2 ffc9 75ee'), ...UD2];
    both(code, 1000, (s) => s.map(CODE + 4096n));
    const s = prepare(code, true);
    s.run(CODE);
    expect(s.engine.translator!.regionStats.dropped).toBeGreaterThan(0);
  });

  it('notices that a string instruction has written over it', () => {
    // lea rdi,[rip+10] (the nops); mov ecx,3; mov al,0xcc; rep stosb; nop; nop; nop
    const s = both([...hex('488d3d09000000 b903000000 b0cc f3aa 909090'), ...UD2]);
    expect(s.get32('exit_reason')).toBe(EXIT.SOFTINT);
  });

  it('serves every address that maps its frame', () => {
    const code = [...hex('488d0500000000 ffc9 75f5'), ...UD2];
    const s = prepare(code, true);
    const again = 0x900000n;
    s.map(again, undefined, Number((s.view.getBigUint64(s.pte(CODE), true) >> 12n) & 0xfffffn));
    s.run(CODE);
    expect(s.gpr(GPR.RAX)).toBe(CODE + 7n);
    const translated = s.engine.translator!.stats.translated;
    s.setGpr(GPR.RCX, 3n);
    s.run(again);
    expect(s.gpr(GPR.RAX)).toBe(again + 7n);
    expect(s.engine.translator!.stats.translated).toBe(translated);
  });

  it('serves another frame with the same code, without a second translation', () => {
    const code = [...hex('01c8 ffc9 75fa'), ...UD2];
    const s = prepare(code, true);
    s.run(CODE);
    const other = 0xa00000n;
    s.map(other);
    s.poke(other, code);
    s.poke(other + 0x800n, [1]); // Else they would have the page in common.
    s.setGpr(GPR.RCX, 50n);
    s.run(other);
    expect(s.engine.translator!.stats.translated).toBe(1);
    expect(s.engine.translator!.regionStats.installed).toBe(2);
  });
});

describe('accesses that are near their base', () => {
  const count = (s: Sandbox) => s.setGpr(GPR.RCX, 30n);

  it('find their page, or the next, wherever the base is', () => {
    // l: mov edx,ecx; and edx,15; mov rax,[rsi+rdx*8]; add rax,rdx; mov [rsi+rdx*8],rax; add rbx,rax; dec ecx; jnz l; ud2
    const code = hex('89ca 83e20f 488b04d6 4801d0 488904d6 4801c3 ffc9 75e9 0f0b');
    for (const at of [0n, 0xf00n, 0xf80n, 0xfbdn, 0xff8n, 0xffcn, 0xfffn])
      for (const fuel of [1000, 1, 3, 4, 5, 6, 20, 100])
        both(code, fuel, (s) => {
          s.setGpr(GPR.RSI, DATA + at);
          count(s);
        });
  });

  it('find no page in what the TLB has of a page that it has forgotten, or that is only read', () => {
    // l: movzx edx,cl; mov al,[rdi+rdx]; add bl,al; mov [rdi+rdx],bl; dec ecx; jnz l; ud2
    const code = hex('0fb6d1 8a0417 00c3 881c17 ffc9 75f1 0f0b');
    for (const first of [DATA, DATA + 4096n])
      for (const forget of [true, false]) {
        const [a, b] = [false, true].map((translated) => {
          const s = prepare(code, translated);
          // The frames are not one behind the other.
          const [low, behind, , high] = Array.from({ length: 4 }, () => s.allocate());
          s.map(first, undefined, low);
          s.map(first + 4096n, undefined, high);
          s.u8.fill(0x11, low * 4096, low * 4096 + 4096);
          s.u8.fill(0x22, behind * 4096, behind * 4096 + 4096);
          s.u8.fill(0x33, high * 4096, high * 4096 + 4096);
          if (forget) {
            s.touch(first);
            s.call('tlb_flush_current', s.cpu);
          } else s.call('probe_read', s.cpu, first, 1);
          s.setGpr(GPR.RDI, first + 4096n - 10n);
          s.setGpr(GPR.RCX, 30n);
          s.run(CODE);
          return [state(s), [low, behind, high].map((f) => [...s.u8.subarray(f * 4096, f * 4096 + 4096)])];
        });
        expect(b).toEqual(a);
      }
  });

  it('fault where their page is missing, or may not be written', () => {
    // l: movzx edx,cl; mov al,[rdi+rdx]; add bl,al; mov [rdi+rdx],bl; dec ecx; jnz l; ud2
    const code = hex('0fb6d1 8a0417 00c3 881c17 ffc9 75f1 0f0b');
    for (const at of [0n, 0x1000n - 20n]) {
      // Of the two pages the first, the second, both; behind them is nothing.
      for (const base of [DATA + at, DATA + 4096n + at, DATA - 4096n + at]) {
        both(code, 1000, (s) => {
          s.setGpr(GPR.RDI, base);
          count(s);
        });
        const s = both(code, 1000, (x) => {
          x.setGpr(GPR.RDI, base);
          count(x);
          x.view.setBigUint64(x.pte(DATA), x.view.getBigUint64(x.pte(DATA), true) & ~2n, true);
          x.call('tlb_flush_current', x.cpu);
        });
        expect([VEC.PF, VEC.UD]).toContain(s.get32('exit_vector'));
      }
    }
  });
});

describe('returns in a region', () => {
  const fuels = [1000, ...Array.from({ length: 40 }, (_, n) => n + 1)];
  const forty = (s: Sandbox) => {
    s.setGpr(GPR.RCX, 40n);
    s.touch(STACK);
  };

  it('lead to after the calls, with the flags that the function leaves', () => {
    // l: call f; adc rbx,rax; call f; sbb rsi,rcx; dec ecx; jnz l; ud2; f: lea rax,[rcx+rcx*2]; cmp rax,60; ret
    const code = hex('e811000000 4811c3 e809000000 4819ce ffc9 75ec 0f0b 488d0449 4883f83c c3');
    for (const fuel of fuels) both(code, fuel, forty);
  });

  it('lead elsewhere if the function says so', () => {
    // l: call f; add rbx,rax; nop; call f; xor rbx,rcx; dec ecx; jnz l; ud2
    // f: lea rax,[rcx+rcx*2]; cmp ecx,3; jne r; add qword [rsp],3; r: ret
    const code = hex('e812000000 4801c3 90 e809000000 4831cb ffc9 75eb 0f0b 488d0449 83f903 7505 4883042403 c3');
    for (const fuel of [...fuels, 300, 310, 320]) both(code, fuel, forty);
  });

  it('are found if it is called by address as well', () => {
    // lea rdx,[f]; l: call f; add rbx,rax; call rdx; xor rbx,rcx; dec ecx; jnz l; ud2
    // f: lea rax,[rcx+rcx*2]; call g; ret; g: inc rsi; ret
    const code = hex('488d1513000000 e80e000000 4801c3 ffd2 4831cb ffc9 75ef 0f0b 488d0449 e801000000 c3 48ffc6 c3');
    for (const fuel of fuels) both(code, fuel, forty);
  });
});

describe('accesses that are looked up together', () => {
  // push rbp; mov rbp,rsp; push rbx; sub rsp,0x20; mov [rbp-0x18],rax; add rax,[rbp-0x18]; lea rdx,[rsp+8]; mov [rdx],ecx;
  // add rsp,0x20; pop rbx; pop rbp; ud2
  const frame = [...hex('55 4889e5 53 4883ec20 488945e8 480345e8 488d542408 890a 4883c420 5b 5d'), ...UD2];
  /** With what is mapped in the TLB, so that looking up together finds it. */
  const warm = (s: Sandbox) => {
    for (const va of [DATA, STACK, STACK + 0x1000n]) s.touch(va);
  };
  const at = (rsp: bigint) => (s: Sandbox) => {
    s.setGpr(GPR.RSP, rsp);
    warm(s);
  };

  it('are a stack frame, wherever it lies', () => {
    const s = both(frame, 1000, warm);
    expect(s.get32('exit_vector')).toBe(VEC.UD);
    for (let rsp = STACK + 0x1000n; rsp < STACK + 0x1060n; rsp += 8n) {
      const t = both(frame, 1000, (x) => {
        x.map(STACK + 0x1000n);
        at(rsp)(x);
      });
      expect(t.get32('exit_vector')).toBe(VEC.UD);
    }
  });

  it('fault one by one, each with those before it done', () => {
    for (let rsp = STACK; rsp < STACK + 0x40n; rsp += 4n) both(frame, 1000, at(rsp));
    for (let rsp = STACK + 0xff8n; rsp < STACK + 0x1040n; rsp += 4n) both(frame, 1000, at(rsp));
  });

  it('read a page that must not be written, up to the write', () => {
    const PTE_RW = 2n;
    // mov rax,[rsi]; mov rcx,[rsi+8]; add [rsi+16],rax; mov rdx,[rsi+24]
    const code = [...hex('488b06 488b4e08 48014610 488b5618'), ...UD2];
    const s = both(code, 1000, (x) => {
      x.view.setBigUint64(x.pte(DATA), x.view.getBigUint64(x.pte(DATA), true) & ~PTE_RW, true);
      x.call('tlb_flush_current', x.cpu);
      warm(x);
    });
    expect(s.get32('exit_vector')).toBe(VEC.PF);
    expect(s.gpr(GPR.RCX)).not.toBe(0n);
  });

  it('follow a value from register to register, and end when it is lost', () => {
    // mov rbx,rsi; lea rdi,[rbx+16]; mov rax,[rbx]; mov rcx,[rdi-8]; add rdi,8; mov [rdi],rcx; and rdi,-16; mov rdx,[rdi];
    // mov edi,edi; mov rdx,[rdi+8]; xchg rbx,rdi; mov rax,[rdi+4]
    const code = hex('4889f3 488d7b10 488b03 488b4ff8 4883c708 48890f 4883e7f0 488b17 89ff 488b5708 4887df 488b4704');
    both([...code, ...UD2], 1000, warm);
  });
});

describe('accesses of several blocks that are looked up together', () => {
  const warm = (s: Sandbox) => {
    for (const va of [DATA, DATA + 4096n, STACK]) s.touch(va);
  };
  const fuels = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 17, 23, 1000];

  it('end where a register is changed on one of the ways between', () => {
    // mov rbx,rsi; mov rax,[rbx]; l: test cl,1; jz f; add rbx,0x800; f: add rdx,[rbx+8]; add [rbx+16],rdx; dec ecx; jnz l
    const code = [...hex('4889f3 488b03 f6c101 7407 4881c300080000 48035308 48015310 ffc9 75e8'), ...UD2];
    for (const rcx of [1n, 2n, 3n, 6n, 9n])
      for (const fuel of fuels)
        both(code, fuel, (s) => {
          s.setGpr(GPR.RCX, rcx);
          warm(s);
        });
  });

  it('end where a helper may have changed registers, or what is mapped', () => {
    // mov rax,[rsi]; lea rdi,[rsi+64]; test dl,1; jz f; mov ecx,16; rep movsb; f: add rdx,[rsi]; mov [rdi],rdx
    const movs = [...hex('488b06 488d7e40 f6c201 7407 b910000000 f3a4 480316 488917'), ...UD2];
    // mov rax,[rsi]; test dl,1; jz f; mov ecx,3; rep lodsq; f: add rdx,[rsi]
    const lods = [...hex('488b06 f6c201 7408 b903000000 f348ad 480316'), ...UD2];
    for (const code of [movs, lods])
      for (const rdx of [0n, 1n])
        for (const fuel of fuels)
          both(code, fuel, (s) => {
            s.setGpr(GPR.RDX, rdx);
            s.setGpr(GPR.RSI, DATA + 0xff0n); // and into the next page
            warm(s);
          });
  });

  it('end where a segment’s base is written', () => {
    // mov rax,fs:[0x10]; test al,1; jz f; mov rdx,fs:[0x18]; f: wrfsbase rcx; mov rbx,fs:[0x10]
    const code = [...hex('64488b042510000000 a801 7409 64488b142518000000 f3480faed1 64488b1c2510000000'), ...UD2];
    for (const first of [0, 1])
      both(code, 1000, (s) => {
        s.set64('cr4', s.get64('cr4') | (1n << 16n)); // FSGSBASE
        s.view.setBigUint64(s.cpu + CpuState.off.segbase + 4 * 8, DATA, true);
        s.setGpr(GPR.RCX, DATA + 0x1000n);
        s.poke(DATA + 0x10n, [first, 2, 3]);
        s.poke(DATA + 0x1010n, [4, 5, 6]);
        warm(s);
      });
  });

  it('are those of their block where two have instructions in common', () => {
    // test cl,1; jnz into the next one, past its prefix; data16 nop; push rdx; nop; pop rdi; add [rsp-8],rdi
    const code = [...hex('f6c101 7501 6690 52 90 5f 48017c24f8'), ...UD2];
    for (const rcx of [0n, 1n])
      for (const fuel of fuels)
        both(code, fuel, (s) => {
          s.setGpr(GPR.RCX, rcx);
          warm(s);
        });
  });

  it('read a page that must not be written, where the write is not come to', () => {
    // mov rax,[rsi]; test al,1; jnz f; mov [rsi+8],rcx; f: mov rdx,[rsi+16]; mov rbx,[rsi]
    const code = [...hex('488b06 a801 7504 48894e08 488b5610 488b1e'), ...UD2];
    for (const [first, vector] of [
      [1, VEC.UD],
      [2, VEC.PF],
    ]) {
      const s = both(code, 1000, (x) => {
        x.poke(DATA, [first]);
        x.view.setBigUint64(x.pte(DATA), x.view.getBigUint64(x.pte(DATA), true) & ~2n, true);
        x.call('tlb_flush_current', x.cpu);
        warm(x);
      });
      expect(s.get32('exit_vector')).toBe(vector);
    }
  });

  it('follow a list, wherever its members lie', () => {
    // l: mov rax,[rbx]; test eax,eax; jz f; mov rdx,[rbx+8]; f: mov rbx,[rbx+16]; cmp rbx,rdi; jnz l
    const code = [...hex('488b03 85c0 7404 488b5308 488b5b10 4839fb 75ec'), ...UD2];
    const list = [0x10n, 0xff8n, 0xff0n, 0xfe8n, 0x100n, 0x1000n, 0xfecn, 0x1800n];
    for (const fuel of fuels)
      both(code, fuel, (s) => {
        for (const [n, at] of list.entries()) {
          const word = (v: bigint) => [...new Uint8Array(BigUint64Array.of(v).buffer)];
          s.poke(DATA + at, word(BigInt(n & 1)));
          s.poke(DATA + at + 8n, word(BigInt(n) * 0x1111n));
          s.poke(DATA + at + 16n, word(n + 1 < list.length ? DATA + list[n + 1] : 0n));
        }
        s.setGpr(GPR.RBX, DATA + list[0]);
        s.setGpr(GPR.RDI, 0n);
        warm(s);
      });
  });
});

describe('a region over several pages', () => {
  const NEXT = CODE + 4096n;
  const FRAME = 0xfffffff000n;
  /** l: call f (in the next page); dec ecx; jnz l; ud2. f: lea rax,[rax+rcx]; call g (in the first page); ret. g: inc rdx; ret */
  const first = [...hex('e8fb0f0000 ffc9 75f7'), ...UD2, ...hex('48ffc2 c3')];
  const second = hex('488d0408 e802f0ffff c3');

  function several(translated: boolean): Sandbox {
    const s = new Sandbox();
    for (const va of [CODE, NEXT, STACK]) s.map(va);
    s.poke(CODE, first);
    s.poke(NEXT, second);
    s.setGpr(GPR.RCX, 20n);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    // Once through, so that both pages are known.
    s.run(CODE, 12);
    s.set64('rip', CODE);
    s.setGpr(GPR.RCX, 50n);
    s.setGpr(GPR.RAX, 0n);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    if (translated) expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
    return s;
  }
  const result = (s: Sandbox) => ({ ...state(s), data: [] });

  it('calls, returns and goes on as the interpreter does, whatever the fuel', () => {
    for (const fuel of [1000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 51]) {
      const [a, b] = [several(false), several(true)];
      for (const s of [a, b]) s.run(CODE, fuel);
      expect(result(b)).toEqual(result(a));
    }
    const s = several(true);
    s.run(CODE);
    expect(s.engine.translator!.regionStats.bound).toBe(1);
  });

  it('leaves where another frame has come to be mapped, and comes back when the first is', () => {
    const s = several(true);
    s.run(CODE, 200);
    const mfn = (s.view.getBigUint64(s.pte(NEXT), true) & FRAME) >> 12n;
    const other = 0x900000n;
    s.map(other);
    // The same, but rax counts down.
    s.poke(other, hex('482bc1 90 e802f0ffff c3'));
    const otherMfn = (s.view.getBigUint64(s.pte(other), true) & FRAME) >> 12n;
    s.map(NEXT, undefined, Number(otherMfn));
    s.call('tlb_flush_current', s.cpu);
    const turns = s.gpr(GPR.RCX);
    s.setGpr(GPR.RAX, 0n);
    s.run(s.get64('rip'));
    expect(BigInt.asIntN(64, s.gpr(GPR.RAX))).toBeLessThan(0n);
    expect(turns).toBeGreaterThan(2n);
    s.map(NEXT, undefined, Number(mfn));
    s.call('tlb_flush_current', s.cpu);
    s.setGpr(GPR.RAX, 0n);
    s.setGpr(GPR.RCX, 3n);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    s.run(CODE);
    expect(s.gpr(GPR.RAX)).toBe(6n);
  });

  it('serves other frames with the same code, each side by side with its own', () => {
    const s = several(true);
    s.run(CODE);
    const there = 0x900000n;
    for (const va of [there, there + 4096n]) s.map(va);
    s.poke(there, first);
    s.poke(there + 4096n, second);
    s.setGpr(GPR.RAX, 0n);
    s.setGpr(GPR.RCX, 20n);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    const { translated } = s.engine.translator!.stats;
    s.run(there);
    expect(s.gpr(GPR.RAX)).toBe(210n);
    expect(s.engine.translator!.stats.translated).toBe(translated);
    expect(s.engine.translator!.regionStats.bound).toBe(1);
  });

  it('forgets a page whose code is written over', () => {
    const s = several(true);
    s.run(CODE, 200);
    // lea rax,[rax+rcx] becomes lea rax,[rax+rdx], by a store of the guest: mov [rip+…],al
    const store = 0xa00000n;
    s.map(store);
    s.poke(store, [
      ...hex('88 05'),
      ...[...new Uint8Array(new Int32Array([Number(NEXT + 3n - store - 6n)]).buffer)],
      ...UD2,
    ]);
    s.setGpr(GPR.RAX, 0x10n);
    s.run(store);
    const [a, b] = [several(false), s];
    a.poke(NEXT, hex('488d0410 e802f0ffff c3'));
    for (const x of [a, b]) {
      x.setGpr(GPR.RAX, 0n);
      x.setGpr(GPR.RDX, 0n);
      x.setGpr(GPR.RCX, 5n);
      x.setGpr(GPR.RSP, STACK + 0x800n);
      x.run(CODE);
    }
    expect(b.gpr(GPR.RAX)).toBe(a.gpr(GPR.RAX));
    expect(b.gpr(GPR.RAX)).toBe(10n);
  });

  it('forgets code of a frame that is mapped in two places', () => {
    // call f (in the next page); call g (in the page behind, which is the same frame); dec ecx; jnz to the start; ud2
    const code = [...hex('e8fb0f0000 e816200000 ffc9 75f2'), ...UD2];
    const [a, b] = [false, true].map((translated) => {
      const s = new Sandbox();
      for (const va of [CODE, STACK]) s.map(va);
      s.map(NEXT + 4096n, undefined, s.map(NEXT));
      s.poke(CODE, code);
      // f: add rax,1; ret and, at 0x20, g: add rdx,1; ret
      s.poke(NEXT, hex('4883c001 c3'));
      s.poke(NEXT + 0x20n, hex('4883c201 c3'));
      const begin = (rcx: bigint) => {
        for (const r of [GPR.RAX, GPR.RDX]) s.setGpr(r, 0n);
        s.setGpr(GPR.RCX, rcx);
        s.setGpr(GPR.RSP, STACK + 0x800n);
        s.set64('rip', CODE);
      };
      begin(3n);
      s.run(CODE);
      begin(20n);
      if (translated) expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
      s.run(CODE);
      if (translated) expect(s.engine.translator!.regionStats.bound).toBe(2);
      s.poke(NEXT + 3n, [2]);
      begin(20n);
      s.run(CODE);
      return s;
    });
    expect(a.gpr(GPR.RAX)).toBe(40n);
    expect(result(b)).toEqual(result(a));
  });

  it('is saved and serves a later engine', () => {
    const saved = several(true).engine.translator!.save();
    expect(decodeSaved(saved)[0].others).toHaveLength(1);
    const s = new Sandbox({ translations: saved });
    for (const va of [CODE, NEXT, STACK]) s.map(va);
    s.poke(CODE, first);
    s.poke(NEXT, second);
    s.setGpr(GPR.RCX, 20n);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    s.run(CODE);
    expect(s.gpr(GPR.RAX)).toBe(210n);
    expect(s.engine.translator!.regionStats.bound).toBe(1);
  });
});

describe('an instruction over the end of a page', () => {
  const NEXT = CODE + 4096n;
  const FRAME = 0xfffffff000n;
  /** cmp rax,rcx; adc rdx,imm; dec ecx; jnz to the start; ud2. Each byte of the immediate is `imm`. */
  const adding = (imm: number) => hex(`4839c8 4881d2${imm.toString(16).padStart(2, '0').repeat(4)} ffc9 75f2 0f0b`);
  const ADC = 3;
  const ADC_BYTES = 7;

  /** Registers as the code finds them, and where it begins. */
  function begin(s: Sandbox, rcx: bigint, rip: bigint): void {
    for (let n = 0; n < 16; n++) s.setGpr(n, BigInt(n));
    s.setGpr(GPR.RCX, rcx);
    s.setGpr(GPR.RSI, DATA);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    s.set64('rip', rip);
  }
  /** The code with so many bytes before the end of the page; both pages have been executed, and rcx is 50. It is translated as from `start` on. */
  function over(code: readonly number[], before: number, translated: boolean, start = 0, saved?: Uint8Array): Sandbox {
    const s = new Sandbox({ translations: saved });
    for (const va of [CODE, NEXT, DATA, STACK]) s.map(va);
    const at = NEXT - BigInt(before);
    s.poke(at, code);
    s.touch(STACK);
    s.touch(DATA);
    begin(s, 3n, at);
    s.run(at, 1000);
    begin(s, 50n, at + BigInt(start));
    if (translated) expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
    return s;
  }
  /** Bytes of the whole code in the first page: one of the instruction's at least, and one of its immediate in the next. */
  const splits = Array.from({ length: ADC_BYTES - 1 }, (_, n) => ADC + 1 + n);

  it.each(splits)('is part of the region, %i bytes after its start', (before) => {
    for (const fuel of [1000, 1, 2, 3, 4, 5, 6, 7, 50, 51]) {
      const [a, b] = [false, true].map((t) => over(adding(5), before, t));
      for (const s of [a, b]) s.run(s.get64('rip'), fuel);
      expect(state(b)).toEqual(state(a));
    }
    const s = over(adding(5), before, true);
    s.run(s.get64('rip'));
    const [t] = decodeSaved(s.engine.translator!.save());
    expect(t.ranges).toEqual([[4096 - before, 4096]]);
    expect(t.others.map((o) => o.ranges[0])).toEqual([[0, ADC + ADC_BYTES - before + 4]]);
    expect(s.engine.translator!.regionStats.bound).toBe(1);
  });

  it('is no place at which a region is entered', () => {
    const s = over(adding(5), ADC + 2, false, ADC);
    expect(s.engine.translator!.translateNow(s.cpu)).toBe(false);
  });

  it.each(splits)('is part of a region that begins in the next page, %i bytes after its start', (before) => {
    // dec ecx, in the next page: the region goes back into the page before, and over its end again.
    const start = ADC + ADC_BYTES;
    for (const fuel of [1000, 1, 2, 3, 4, 5, 6, 7, 50, 51]) {
      const [a, b] = [false, true].map((t) => over(adding(5), before, t, start));
      for (const s of [a, b]) s.run(s.get64('rip'), fuel);
      expect(state(b)).toEqual(state(a));
    }
    const s = over(adding(5), before, true, start);
    s.run(s.get64('rip'));
    const [t] = decodeSaved(s.engine.translator!.save());
    expect(t.ranges[0]).toEqual([0, ADC + ADC_BYTES - before + 4]);
    expect(t.others.map((o) => [o.delta, o.ranges])).toEqual([[-1, [[4096 - before, 4096]]]]);
    // And is made anew when the bytes in its first page change.
    const [a, b] = [false, true].map((t) => over(adding(5), before, t, start));
    for (const x of [a, b]) {
      x.run(x.get64('rip'), 20);
      x.poke(NEXT, adding(9).slice(before));
      x.run(x.get64('rip'), 1000);
    }
    expect(state(b)).toEqual(state(a));
  });

  it.each(splits)('has the bytes that are mapped there, %i bytes after the start', (before) => {
    const [a, b] = [false, true].map((t) => over(adding(5), before, t));
    for (const s of [a, b]) {
      s.run(s.get64('rip'), 20);
      const other = 0x900000n;
      s.map(other);
      s.poke(other, adding(9).slice(before));
      const frame = (s.view.getBigUint64(s.pte(other), true) & FRAME) >> 12n;
      s.map(NEXT, undefined, Number(frame));
      s.call('tlb_flush_current', s.cpu);
      s.run(s.get64('rip'), 1000);
      expect(s.get32('exit_vector')).toBe(VEC.UD);
    }
    expect(state(b)).toEqual(state(a));
  });

  it.each(splits)('is found anew when its end is written over, %i bytes after the start', (before) => {
    const [a, b] = [false, true].map((t) => over(adding(5), before, t));
    for (const s of [a, b]) {
      s.run(s.get64('rip'), 20);
      s.poke(NEXT, adding(9).slice(before, ADC + ADC_BYTES));
      s.run(s.get64('rip'), 20);
      // And as it was.
      s.poke(NEXT, adding(5).slice(before, ADC + ADC_BYTES));
      s.run(s.get64('rip'), 1000);
    }
    expect(state(b)).toEqual(state(a));
  });

  it('may be written over by the region that it is part of', () => {
    // mov [rdi],cl; add rdx,imm32, of which three bytes are in the next page; dec ecx; jnz to the start; ud2
    const code = hex('880f 4881c205050505 ffc9 75f3 0f0b');
    const [a, b] = [false, true].map((t) => over(code, 6, t));
    for (const s of [a, b]) {
      s.setGpr(GPR.RDI, NEXT + 2n);
      s.run(s.get64('rip'), 1000);
    }
    expect(state(b)).toEqual(state(a));
    expect(a.gpr(GPR.RDX) >> 24n).toBeGreaterThanOrEqual(BigInt((50 * 51) / 2));
  });

  it('serves a later engine', () => {
    const s = over(adding(5), ADC + 2, true);
    const saved = s.engine.translator!.save();
    const [a, b] = [over(adding(5), ADC + 2, false), over(adding(5), ADC + 2, false, 0, saved)];
    for (const x of [a, b]) x.run(x.get64('rip'), 1000);
    expect(state(b)).toEqual(state(a));
    expect(b.engine.translator!.regionStats.bound).toBe(1);
    expect(b.engine.translator!.stats.translated).toBe(0);
  });

  it.each(splits)('faults when the next page has gone, %i bytes after the start', (before) => {
    const [a, b] = [false, true].map((t) => over(adding(5), before, t));
    for (const s of [a, b]) {
      s.run(s.get64('rip'), 20);
      s.unmap(NEXT);
      s.call('tlb_flush_current', s.cpu);
      s.run(NEXT - BigInt(before), 1000);
      expect(s.get32('exit_vector')).toBe(VEC.PF);
      expect(s.get64('cr2')).toBe(NEXT);
    }
    expect(state(b)).toEqual(state(a));
  });

  it('faults with the flags and registers that are set anew behind it', () => {
    // mov edx,ecx; add rax,rcx; mov edx,0x11223344, of which the first byte is in the first page; add rbx,rax; dec ecx; jnz to the start
    const code = hex('89ca 4801c8 ba44332211 4801c3 ffc9 75ef 0f0b');
    const [a, b] = [false, true].map((t) => over(code, 6, t));
    for (const s of [a, b]) {
      s.run(s.get64('rip'), 20);
      s.unmap(NEXT);
      s.call('tlb_flush_current', s.cpu);
      s.setGpr(GPR.RAX, 0xffff_ffff_ffff_fff0n);
      s.run(NEXT - 6n, 1000);
      expect(s.get64('cr2')).toBe(NEXT);
      expect(s.gpr(GPR.RDX)).toBe(s.gpr(GPR.RCX));
    }
    expect(state(b)).toEqual(state(a));
  });

  // l: the first; the second, of which two bytes are in the first page; dec ecx; jnz l; ud2; f: inc rbx; ret
  it.each([
    ['jz, taken now and then', '4801ca a801', '0f8404000000 488d5203 ffc8'],
    ['call', '4801ca', 'e806000000'],
    ['a load', '4801ca', '488b86f80f0000'],
    ['a store to a page that is not there', '4801ca', '48898600100000'],
    ['push', '4801ca', '6844332211 5b'],
    ['an x87 instruction', '4801ca', 'd986f80f0000 ddd8'],
    ['lock xadd', '4801ca', 'f0480fc18600010000'],
  ])('%s', (name, head, code) => {
    const body = hex(`${head} ${code}`);
    const all = [...body, ...hex('ffc9'), 0x75, 0x100 - (body.length + 4), ...UD2, ...hex('48ffc3 c3')];
    const first = hex(head).length + 2;
    for (const fuel of [1000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 40, 41]) {
      const [a, b] = [false, true].map((t) => over(all, first, t));
      for (const s of [a, b]) s.run(s.get64('rip'), fuel);
      expect(state(b)).toEqual(state(a));
      if (fuel === 1000) expect(a.get32('exit_vector')).toBe(name.startsWith('a store') ? VEC.PF : VEC.UD);
    }
  });
});

describe('hot code', () => {
  it('is found while it runs, and counted as before', () => {
    // l: add rax,rcx; dec ecx; jnz l
    const code = [...hex('4801c8 ffc9 75f9'), ...UD2];
    const run = (translated: boolean) => {
      const s = prepare(code, translated);
      s.setGpr(GPR.RCX, 2_000_000n);
      while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
      return s;
    };
    const s = run(false);
    expect(s.engine.translator!.stats.translated).toBeGreaterThan(0);
    expect(s.get64('icount')).toBe(6_000_000n);
    expect(state(run(true))).toEqual(state(s));
  });

  it('is found where the hypervisor enters it, though no branch leads there', () => {
    // add rdx,rcx; syscall
    const s = prepare(hex('4801ca 0f05'), false);
    s.setGpr(GPR.RCX, 3n);
    s.setGpr(GPR.RDX, 0n);
    const runs = 20_000;
    for (let n = 0; n < runs; n++) expect(s.run(CODE)).toBe(EXIT.SYSCALL);
    expect(s.engine.translator!.stats.translated).toBe(1);
    expect(s.gpr(GPR.RDX)).toBe(BigInt(3 * runs));
  });

  it('is found where a region was cut off', () => {
    // l: 400 times inc rax; dec ecx; jnz l
    const body = hex('48ffc0'.repeat(400));
    const back = 0x1_0000_0000 - (body.length + 2 + 6);
    const code = [...body, ...hex('ffc9 0f85'), ...[0, 8, 16, 24].map((n) => (back / 2 ** n) & 0xff), ...UD2];
    const s = prepare(code, true);
    s.setGpr(GPR.RAX, 0n);
    s.setGpr(GPR.RCX, 60_000n);
    // Less than a slice at once: no samples.
    while (s.run(s.get64('rip'), 10_000) === EXIT.PREEMPT) s.view.setInt32(s.cpu + SLICE_AT, 1 << 30, true);
    expect(s.gpr(GPR.RAX)).toBe(24_000_000n);
    expect(s.get64('icount')).toBe(60_000n * 402n);
    expect(s.engine.translator!.stats.translated).toBeGreaterThan(1);
  });

  it('that calls each other becomes one, whatever else stands in the page', () => {
    // twelve loops: dec ecx; jnz; ud2
    const loop = [...hex('ffc9 75fc'), ...UD2, ...Array(10).fill(0x90)];
    const others = Array.from({ length: 14 }, (_, n) => n * 16);
    // a: add rdx,rcx; nop; jmp rdi (or a slice would always end at the same of the two); b: dec ecx; jz end; jmp rsi; end: ud2
    const [a, b] = [0x400, 0x480];
    const s = prepare(
      others.flatMap(() => loop),
      false,
    );
    s.poke(CODE + BigInt(a), hex('4801ca 90 ffe7'));
    s.poke(CODE + BigInt(b), hex('ffc9 7402 ffe6 0f0b'));
    const translate = (at: number) => {
      s.set64('rip', CODE + BigInt(at));
      expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
    };
    for (const at of [...others, a, b]) translate(at);
    s.setGpr(GPR.RDI, CODE + BigInt(b));
    s.setGpr(GPR.RSI, CODE + BigInt(a));
    s.setGpr(GPR.RDX, 0n);
    s.setGpr(GPR.RCX, 1_000_000n);
    s.set64('rip', CODE + BigInt(a));
    while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
    expect(s.gpr(GPR.RDX)).toBe(500_000_500_000n);
    const hot = decodeSaved(s.engine.translator!.save()).map((t) => [...t.hot].sort((x, y) => x - y));
    expect(hot).toContainEqual([a, b]);
    for (const at of others) expect(hot).toContainEqual([at]);
  });

  it('becomes one, asked for once, while new code is asked for as ever', () => {
    const orders: Order[] = [];
    const ready: Delivery[] = [];
    // a: add rdx,rcx; nop; jmp rdi; b: dec ecx; jz end; jmp rsi; end: ud2; c: dec ecx; jnz c; ud2
    const [b, c] = [0x80, 0x100];
    const s = prepare(hex('4801ca 90 ffe7'), true, { order: (o) => orders.push(o), collect: () => ready.shift() });
    s.poke(CODE + BigInt(b), hex('ffc9 7402 ffe6 0f0b'));
    s.poke(CODE + BigInt(c), hex('ffc9 75fc 0f0b'));
    s.set64('rip', CODE + BigInt(b));
    expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
    const run = (at: bigint) => {
      s.setGpr(GPR.RDI, CODE + BigInt(b));
      s.setGpr(GPR.RSI, CODE);
      s.setGpr(GPR.RCX, 2_000_000n);
      s.set64('rip', at);
      while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
    };
    const asked = () => orders.map((o) => [o.instead, ...o.hot.toSorted((x, y) => x - y)]);
    for (let i = 0; i < 2; i++) {
      run(CODE);
      expect(asked()).toEqual([[true, 0, b]]);
    }
    for (let i = 0; i < 2; i++) {
      run(CODE + BigInt(c));
      expect(asked()).toEqual([
        [true, 0, b],
        [false, c],
      ]);
    }
    // Another that was made meanwhile has that place, it is said; but control is seen there again.
    ready.push({ id: orders[1].id, covered: true, ms: 0 });
    run(CODE + BigInt(c));
    expect(asked().slice(2)).toEqual([[false, c]]);
    // This time there turns out to be nothing in it.
    ready.push({ id: orders[2].id, ms: 0 });
    run(CODE + BigInt(c));
    expect(orders.length).toBe(3);
  });

  it('is looked for more often where the guest is interpreted and little is on order', () => {
    const orders: Order[] = [];
    // Ten loops, one after the other, of a million rounds each.
    const s = prepare([], true, { order: (o) => orders.push(o), collect: () => undefined });
    const loops = Array.from({ length: 10 }, (_, i) => 0x100 + 0x80 * i);
    for (const at of loops) s.poke(CODE + BigInt(at), hex('ffc9 75fc 0f0b'));
    const samples = loops.map((at) => {
      const before = s.engine.translator!.stats.samples;
      s.setGpr(GPR.RCX, 1_000_000n);
      s.set64('rip', CODE + BigInt(at));
      while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
      return s.engine.translator!.stats.samples - before;
    });
    expect(orders.map((o) => o.hot)).toEqual(loops.map((at) => [at]));
    // 2 million instructions in slices of 5,000 and of 20,000.
    expect(samples[0]).toBeGreaterThan(300);
    expect(samples[9]).toBeLessThan(130);
  });

  it('is found sooner where the hypervisor enters it while little is on order', () => {
    const orders: Order[] = [];
    const s = prepare([], true, { order: (o) => orders.push(o), collect: () => undefined });
    const places = Array.from({ length: 10 }, (_, i) => 0x100 + 0x10 * i);
    // add rdx,rcx; syscall
    for (const at of places) s.poke(CODE + BigInt(at), hex('4801ca 0f05'));
    const entries = places.map((at) => {
      const before = orders.length;
      let n = 0;
      for (; orders.length === before && n < 20_000; n++) s.run(CODE + BigInt(at));
      return n;
    });
    expect(orders.map((o) => o.hot)).toEqual(places.map((at) => [at]));
    // 16 times one of 256, and one of 1,024.
    expect(entries[5]).toBe(16 * 256);
    expect(entries[9]).toBe(16 * 1024);
  });

  it('is not looked for more often where there is nothing for the translator, nor in translations', () => {
    const orders: Order[] = [];
    const ready: Delivery[] = [];
    // Twenty branches forward that are taken, and a way back.
    const loop = [...Array.from({ length: 20 }, () => hex('eb01 90')).flat(), ...hex('ffc9 75c0 0f0b')];
    const samples = (translated: boolean) => {
      const s = prepare([], true, { order: (o) => orders.push(o), collect: () => ready.shift() });
      s.poke(CODE, loop);
      s.set64('rip', CODE);
      if (translated) expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
      const run = (rounds: bigint) => {
        s.setGpr(GPR.RCX, rounds);
        s.set64('rip', CODE);
        while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
        return s.engine.translator!.stats.samples;
      };
      const before = run(500_000n);
      // There is nothing in them.
      for (const { id } of orders.splice(0)) ready.push({ id, ms: 0 });
      return run(500_000n) - before;
    };
    // 11 million instructions in slices of 20,000, or, at last, 80,000.
    expect(samples(true)).toBeLessThan(700);
    expect(samples(false)).toBeLessThan(900);
  });

  it('is made anew when something that it left out gets hot', () => {
    // l: add rdx,rcx; dec ecx; jz end; test rdi,rdi; jnz x; jmp l; end: ud2; and in the next page x: inc rax; jmp rsi
    const s = prepare([...hex('4801ca ffc9 740b 4885ff 0f85f0100000 ebee'), ...UD2], false);
    s.poke(CODE + 4352n, hex('48ffc0 ffe6'));
    s.setGpr(GPR.RSI, CODE);
    const run = (rdi: bigint) => {
      s.setGpr(GPR.RDI, rdi);
      s.setGpr(GPR.RCX, 3_000_000n);
      s.setGpr(GPR.RDX, 0n);
      s.setGpr(GPR.RAX, 0n);
      s.set64('rip', CODE);
      while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
      expect(s.gpr(GPR.RDX)).toBe(4_500_001_500_000n);
      expect(s.gpr(GPR.RAX)).toBe(rdi * 2_999_999n);
    };
    const whole = () =>
      decodeSaved(s.engine.translator!.save()).some((t) => t.hot.includes(0) && t.others.some((p) => p.delta === 1));
    run(0n);
    expect(s.engine.translator!.stats.translated).toBeGreaterThan(0);
    expect(whole()).toBe(false);
    run(1n);
    expect(whole()).toBe(true);
  });

  it('need not be entered where slices end in passing', () => {
    // l: test rdi,rdi; jz f; inc rax; f: dec ecx; jnz l
    const s = prepare([...hex('4885ff 7403 48ffc0 ffc9 75f4'), ...UD2], false);
    s.setGpr(GPR.RDI, 0n);
    s.setGpr(GPR.RCX, 5_000_000n);
    while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
    expect(s.engine.translator!.stats.samples).toBeGreaterThan(500);
    expect(decodeSaved(s.engine.translator!.save()).map((t) => t.hot)).toEqual([[0]]);
  });

  it('that goes round in itself stays as it is, wherever slices end', () => {
    // a: mov ecx,50000; l: dec ecx; jnz l; jmp rdi; and b: the same with dec edx; jz end; jmp rsi; end: ud2
    const [a, b] = [0x400, 0x480];
    const loop = hex('b950c30000 ffc9 75fc');
    const inner = 5;
    const s = prepare([], false);
    s.poke(CODE + BigInt(a), [...loop, ...hex('ffe7')]);
    s.poke(CODE + BigInt(b), [...loop, ...hex('ffca 7402 ffe6 0f0b')]);
    for (const at of [a, a + inner, b, b + inner]) {
      s.set64('rip', CODE + BigInt(at));
      expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
    }
    s.setGpr(GPR.RDI, CODE + BigInt(b));
    s.setGpr(GPR.RSI, CODE + BigInt(a));
    s.setGpr(GPR.RDX, 100n);
    s.set64('rip', CODE + BigInt(a));
    while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
    expect(s.gpr(GPR.RDX)).toBe(0n);
    expect(s.engine.translator!.stats.samples).toBeGreaterThan(500);
    const hot = decodeSaved(s.engine.translator!.save()).map((t) => t.hot);
    expect(hot.toSorted((x, y) => x[0] - y[0])).toEqual([[a], [a + inner], [b], [b + inner]]);
  });

  it('keeps the places of other pages that it was made for when others get hot', () => {
    // As above, with b in the next page, in two places one after the other.
    const a = 0x400;
    const beside = [4096 + 0x80, 4096 + 0x100];
    const s = prepare([], false);
    s.poke(CODE + BigInt(a), hex('4801ca 90 ffe7'));
    for (const b of beside) s.poke(CODE + BigInt(b), hex('ffc9 7402 ffe6 0f0b'));
    s.setGpr(GPR.RSI, CODE + BigInt(a));
    for (const b of beside) {
      s.setGpr(GPR.RDI, CODE + BigInt(b));
      s.setGpr(GPR.RCX, 1_000_000n);
      s.set64('rip', CODE + BigInt(a));
      while (s.run(s.get64('rip'), 100_000) === EXIT.PREEMPT);
    }
    const made = decodeSaved(s.engine.translator!.save()).find((t) => t.hot.includes(a) && t.computed);
    expect(made?.beside).toEqual(beside);
  });
});

describe('memory for translations', () => {
  /** mov eax,imm; l: add rdx,rax; dec ecx; jnz l; and the next page's the same with another immediate. */
  const page = (n: number) => [0xb8, n & 0xff, n >> 8, 0, 0, ...hex('4801c2 ffc9 75f9'), ...UD2];

  it('is bounded: when it is full, the longest unused go, and their code is translated again', () => {
    const s = new Sandbox({ translationMiB: 1 });
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 300; n++) {
        const at = CODE + BigInt(n * 4096);
        if (round === 0) {
          s.map(at);
          s.poke(at, page(n));
        }
        s.set64('rip', at);
        expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
        s.setGpr(GPR.RCX, 10n);
        s.setGpr(GPR.RDX, 0n);
        s.run(at);
        expect(s.gpr(GPR.RDX)).toBe(BigInt(n * 10));
      }
    }
    expect(s.engine.translator!.stats.evictions).toBeGreaterThan(1);
  });

  it('is made for what is new among what has all run of late', () => {
    const s = new Sandbox({ translationMiB: 1 });
    const t = s.engine.translator!;
    for (let n = 0; n < 200; n++) {
      const at = CODE + BigInt(n * 4096);
      s.map(at);
      s.poke(at, page(n));
      s.set64('rip', at);
      expect(t.translateNow(s.cpu)).toBe(true);
      s.setGpr(GPR.RCX, 10n);
      s.run(at);
      s.set64('rip', at);
      t.sample(s.cpu);
    }
    // It is full for each tenth or so of them, and not for each.
    expect(t.stats.evictions).toBeGreaterThan(1);
    expect(t.stats.evictions).toBeLessThan(60);
  });

  it('of none means that everything is interpreted', () => {
    expect(new Sandbox({ translationMiB: 0 }).engine.translator).toBeUndefined();
  });
});

describe('of translations that may be entered at a place', () => {
  const page = Uint8Array.from({ length: 4096 }, (_, n) => n * 7);
  const made = (hot: number[], entries: number[], ranges: [number, number][]) =>
    ({
      hot,
      entries,
      ranges,
      bytes: Uint8Array.from(ranges.flatMap(([f, t]) => [...page.subarray(f, t)])),
    }) as Partial<Translation> as Translation;

  it('the newest of those that are hot there is found, then of those that pass it', () => {
    const library = new Library();
    const first = made([8], [8, 20], [[8, 30]]);
    const larger = made([8, 40], [8, 40], [[8, 50]]);
    const passing = made([0], [0, 8, 20], [[0, 21]]);
    for (const t of [first, larger, passing]) library.add(t);
    expect(library.find(page, 8)).toBe(larger);
    expect(library.find(page, 20)).toBe(passing);
    expect(library.find(page, 9)).toBeUndefined();
    library.remove(larger);
    expect(library.find(page, 8)).toBe(first);
  });

  it('one is found only if all of its bytes are there, the last ones of the page too', () => {
    const library = new Library();
    library.add(
      made(
        [8],
        [8],
        [
          [8, 10],
          [4095, 4096],
        ],
      ),
    );
    library.add(made([4095], [4095], [[4095, 4096]]));
    expect(library.find(page, 8)).toBeDefined();
    expect(library.find(page, 4095)).toBeDefined();
    expect(library.find(page.with(4095, 0), 8)).toBeUndefined();
    expect(library.find(page.with(9, 0), 8)).toBeUndefined();
  });
});

describe('saved translations', () => {
  const code = [...hex('b80a000000 4801c2 ffc9 75f9'), ...UD2];
  const run = (translations?: Uint8Array, compiled?: TranslatorOptions['compiled']) => {
    const s = new Sandbox({ translations, compiled });
    s.map(CODE);
    s.poke(CODE, code);
    s.setGpr(GPR.RCX, 7n);
    s.set64('rip', CODE);
    if (!translations) s.engine.translator!.translateNow(s.cpu);
    s.run(CODE);
    expect(s.gpr(GPR.RDX)).toBe(70n);
    return s.engine.translator!;
  };

  it('serve a later engine without translating', () => {
    const later = run(run().save());
    expect(later.stats.translated).toBe(0);
    expect(later.regionStats.installed).toBe(1);
  });

  it('come with machine code, which goes before compiling', () => {
    const [saved] = decodeSaved(run().save());
    // What the wasm is itself is of no use, to see which of the two is taken.
    const code = new Uint8Array([1, 2, 3]);
    const translations = encodeSaved([
      { ...saved, from: { ...saved.from, wasm: saved.from.wasm.subarray(0, 40), code } },
    ]);
    const seen: Uint8Array[] = [];
    const compiled = (_: Uint8Array, bytes: Uint8Array) => {
      seen.push(bytes);
      return new WebAssembly.Module(saved.from.wasm.slice());
    };
    const later = run(translations, compiled);
    expect(seen).toEqual([code]);
    expect(later.regionStats.installed).toBe(1);
    // Not this host's: it is compiled after all.
    expect(run(encodeSaved([{ ...saved, from: { ...saved.from, code } }]), () => undefined).regionStats.installed).toBe(
      1,
    );
    expect(run(translations, () => undefined).regionStats.installed).toBe(0);
  });

  it('are told of when they are used', () => {
    const saved = decodeSaved(run().save());
    const other = { ...saved[0], bytes: saved[0].bytes.map((b) => b ^ 1) };
    expect(run(encodeSaved([other, ...saved])).used()).toEqual([1]);
  });

  it('do not serve other code', () => {
    const saved = run().save();
    const s = new Sandbox({ translations: saved });
    s.map(CODE);
    s.poke(CODE, code.with(1, 11));
    s.setGpr(GPR.RCX, 7n);
    s.run(CODE);
    expect(s.gpr(GPR.RDX)).toBe(77n);
    expect(s.engine.translator!.regionStats.installed).toBe(0);
  });

  it('that are damaged do no harm', () => {
    const saved = run().save();
    for (let at = 0; at < saved.length; at += 7) {
      const bad = saved.slice();
      bad[at] ^= 0xff;
      // The guest bytes and offsets may still hold; the wasm is validated.
      decodeSaved(bad);
    }
    for (const n of [0, 1, 4, 100, saved.length - 1]) expect(decodeSaved(saved.subarray(0, n))).toEqual([]);
    const elsewhere = decodeSaved(saved).map((t) => ({ ...t, entries: [...t.entries, 4000] }));
    expect(decodeSaved(encodeSaved(elsewhere))).toEqual([]);
    const wasm = decodeSaved(saved).map((t) => ({ ...t, from: { ...t.from, wasm: t.from.wasm.subarray(0, 40) } }));
    expect(run(encodeSaved(wasm)).regionStats.installed).toBe(0);
  });

  it('are merged: one of each, within a limit, and not for ever', () => {
    const saved = decodeSaved(run().save());
    expect(mergeSaved([saved, saved], 1 << 20)).toHaveLength(1);
    expect(mergeSaved([saved], 10)).toEqual([]);
    const old = saved.map((t) => ({ ...t, age: 9 }));
    expect(mergeSaved([old], 1 << 20, 10)).toEqual([]);
    expect(mergeSaved([old], 1 << 20)).toEqual(old);
    expect(mergeSaved([saved], 1 << 20, 10)).toEqual(saved);
    expect(mergeSaved([old, saved], 1 << 20)).toEqual(saved);
  });
});
