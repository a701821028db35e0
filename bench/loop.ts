/** How fast the interpreter runs a loop of common instructions, without a hypervisor around it. */
import { EXIT, GPR } from '../src/engine/state.ts';
import { Sandbox } from '../test/engine/sandbox.ts';

const CODE = 0x400000n;
const DATA = 0x10000000n;
const STACK = 0x7fff0000n;

// loop: mov rax,[rsi]; add rax,rcx; mov [rsi+8],rax; lea rdx,[rax+rcx*2]; xor rdx,rax; push rdx; pop rbx; call f; dec rcx;
// jnz loop; ud2      f: movzx eax,byte [rsi+3]; shl eax,3; test eax,eax; jz 1f; nop; nop; 1: ret
const PROGRAM = Buffer.from(
  '488b064801c848894608488d14484831c2525be80700000048ffc975e30f0b0fb64603c1e00385c074029090c3',
  'hex',
);

/** Millions of guest instructions a second, best of five runs. */
export function loopMips(): number {
  const s = new Sandbox();
  for (const va of [CODE, DATA, STACK]) s.map(va);
  s.poke(CODE, PROGRAM);
  let best = 0;
  for (let run = 0; run < 5; run++) {
    s.setGpr(GPR.RCX, 1_000_000n);
    s.setGpr(GPR.RSI, DATA);
    s.setGpr(GPR.RSP, STACK + 0x800n);
    const before = s.get64('icount');
    const start = performance.now();
    let rip = CODE;
    while (s.run(rip, 1_000_000) === EXIT.PREEMPT) rip = s.get64('rip');
    const ms = performance.now() - start;
    best = Math.max(best, Number(s.get64('icount') - before) / ms / 1000);
  }
  return best;
}

if (import.meta.main) console.log(`${loopMips().toFixed(0)} million instructions a second`);
