/**
 * Records what the real CPU makes of the x87 and SSE cases: `node test/cpu/x87/record.ts` (needs gcc and an x86-64 CPU).
 * With --check it compares with the recorded files instead of writing them.
 *
 * x87.txt.gz: a line per case, `encoding|opsize|i` then input and outcome as test/engine/x87-machine.ts has them;
 * sse.txt.gz: `name mxcsr a b > result mxcsr trapped`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { recordAll } from '../../engine/x87-machine.ts';
import { casesOf } from './cases.ts';
import { sseCases } from './sse-cases.ts';

const HERE = import.meta.dirname;

/** Build `source` and feed it `lines`; one answer a line. */
function native(source: string, lines: readonly string[], ...flags: string[]): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'x87-'));
  try {
    const exe = join(dir, 'native');
    const cc = spawnSync('gcc', ['-O1', ...flags, '-o', exe, join(HERE, source)], { encoding: 'utf8' });
    if (cc.status !== 0) throw new Error(`gcc ${source}: ${cc.stderr ?? cc.error}`);
    const run = spawnSync(exe, { input: `${lines.join('\n')}\n`, encoding: 'utf8', maxBuffer: 1 << 28 });
    const out = run.stdout.trim().split('\n');
    if (out.length !== lines.length) throw new Error(`${source} stopped at: ${lines[out.length]}`);
    return out;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function recordX87(): string {
  const cases = recordAll()
    .filter((r) => r.opsize !== 8)
    .flatMap((r, k) => casesOf(r, 40, k));
  const h = (v: number) => v.toString(16);
  const input = cases.map((c) => {
    const s = c.state;
    return [c.code, h(s.fcw), h(s.fsw), h(s.ftw), h(s.flags), s.memory, ...s.st].join(' ');
  });
  const output = native('native.c', input);
  return cases
    .map((c, n) => {
      const [fcw, fsw, ftw, flags, memory, ...st] = output[n].split(' ');
      // Registers that are where they were before the stack moved, and memory that did not change, are left out.
      const moved = (((Number.parseInt(fsw, 16) >> 11) - (c.state.fsw >> 11)) & 7) as number;
      const regs = st.map((v, k) => (v === c.state.st[(k + moved) & 7] ? '=' : v));
      const before = c.state.memory.padEnd(memory.length, '0');
      const mem = memory === before ? '=' : memory.replace(/(00)+$/, '');
      const { encoding, opsize } = c.recorded;
      const title = `${encoding.insn.name}|${encoding.text}|${opsize}|${c.i}`;
      return `${title}> ${input[n].slice(input[n].indexOf(' ') + 1)} > ${[fcw, fsw, ftw, flags, mem, ...regs].join(' ')}`;
    })
    .join('\n');
}

function recordSse(): string {
  const input = sseCases(60, 1).map((c) => `${c.name} ${c.mxcsr.toString(16)} ${c.a.toString(16)} ${c.b.toString(16)}`);
  const output = native('native-sse.c', input, '-msse4.1');
  return input.map((line, n) => `${line} > ${output[n]}`).join('\n');
}

const check = process.argv.includes('--check');
let differ = 0;
for (const [name, record] of [
  ['x87', recordX87],
  ['sse', recordSse],
] as const) {
  const file = join(HERE, `${name}.txt.gz`);
  const text = `${record()}\n`;
  const count = text.split('\n').length - 1;
  if (check) {
    const was = gunzipSync(readFileSync(file)).toString();
    const same = was === text;
    if (!same) differ++;
    console.log(`${name}: ${count} cases, ${same ? 'as recorded' : 'DIFFERENT from the recording'}`);
  } else {
    const packed = gzipSync(text, { level: 9 });
    writeFileSync(file, packed);
    console.log(`${name}: ${count} cases, ${packed.length} bytes`);
  }
}
process.exitCode = differ ? 1 : 0;
