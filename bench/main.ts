/**
 * `npm run bench`: the same work here and under QEMU's TCG, in turns on the same machine; prints seconds, medians and ratios
 * (QEMU / Xenolith: above 1 is ahead) and writes build/bench.json. Needs qemu-system-x86_64 (Debian: qemu-system-x86).
 *
 * Usage: npm run bench [-- --runs N] [--flavour cloud|generic]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { partSizes } from '../src/machine/parts.ts';
import { Cache } from '../src/start/cache.ts';
import { loadImages } from '../src/start/images.ts';
import { parseOptions } from '../src/start/options.ts';
import { loopMips } from './loop.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MEMORY = 512;
/** The kernel says this when it starts the first program. */
const MARKER = 'Run /init as init process';
const LIMIT_MS = 180_000;

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '3' }, flavour: { type: 'string', default: 'cloud' } },
});
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: a whole number from 1 is wanted`);

/** Seconds from launch until the marker is on the program's standard output. */
function timeToMarker(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(program, args, { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] });
    let text = '';
    let errors = '';
    const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    let seconds: number | undefined;
    child.stdout.on('data', (d: Buffer) => {
      text += d.toString('latin1');
      if (seconds === undefined && text.includes(MARKER)) {
        seconds = (performance.now() - start) / 1000;
        child.kill('SIGKILL');
      }
    });
    child.stderr.on('data', (d: Buffer) => {
      errors += d.toString('latin1');
    });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(limit);
      if (seconds !== undefined) resolve(seconds);
      else reject(new Error(`${program} never said "${MARKER}":\n${text.slice(-1000)}\n${errors.slice(-1000)}`));
    });
  });
}

const median = (v: readonly number[]) => [...v].sort((a, b) => a - b)[v.length >> 1];

const options = parseOptions(['--flavour', values.flavour]);
const images = await loadImages(options, ROOT, new Cache(), (line) => console.error(line));
const dir = mkdtempSync(join(tmpdir(), 'xenolith-bench-'));
try {
  const kernel = join(dir, 'vmlinuz');
  const ramdisk = join(dir, 'initrd');
  writeFileSync(kernel, images.image);
  writeFileSync(ramdisk, images.ramdisk ?? new Uint8Array());
  const here = () =>
    timeToMarker(process.execPath, [
      'scripts/start.ts',
      '--kernel',
      kernel,
      '--ramdisk',
      ramdisk,
      '--memory',
      String(MEMORY),
      '--append',
      'console=hvc0',
    ]);
  const qemu = () =>
    timeToMarker('qemu-system-x86_64', [
      ...['-accel', 'tcg', '-cpu', 'max', '-m', String(MEMORY), '-smp', '1', '-display', 'none', '-serial', 'stdio'],
      ...['-no-reboot', '-net', 'none', '-kernel', kernel, '-initrd', ramdisk, '-append', 'console=ttyS0'],
    ]);
  await here(); // what is decompressed once is kept
  const x: number[] = [];
  const q: number[] = [];
  for (let i = 0; i < runs; i++) {
    q.push(await qemu());
    x.push(await here());
    console.error(`run ${i + 1} of ${runs}: QEMU ${q[i].toFixed(2)} s, Xenolith ${x[i].toFixed(2)} s`);
  }
  const boot = { qemu: median(q), xenolith: median(x), ratio: median(q) / median(x) };
  const mips = loopMips();
  const sizes = partSizes();
  const row = (a: string, b: string, c: string, d: string) =>
    console.log(`${a.padEnd(34)}${b.padStart(10)}${c.padStart(12)}${d.padStart(8)}`);
  row('', 'QEMU TCG', 'Xenolith', 'ratio');
  row(`boot to /init (${values.flavour}), s`, boot.qemu.toFixed(2), boot.xenolith.toFixed(2), boot.ratio.toFixed(2));
  row('loop, million instructions/s', '', mips.toFixed(0), '');
  console.log(
    `hypervisor.wasm ${sizes.hypervisor} bytes, runtime.wasm ${sizes.runtime}, interpreter.wasm (generated) ${sizes.interpreter}`,
  );
  writeFileSync(
    new URL('../build/bench.json', import.meta.url),
    `${JSON.stringify({ flavour: values.flavour, boot: { ...boot, runs: { qemu: q, xenolith: x } }, mips, sizes }, null, 2)}\n`,
  );
} finally {
  rmSync(dir, { recursive: true });
}
