/** The host process dies (SIGKILL) in the middle of writes: images stay whole, and what was flushed is there. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openImage } from '../../src/dom0/backends/block/formats/formats.ts';
import { ROOT } from './command.ts';

const KILLS = Number(process.env.BLOCK_SIGKILLS ?? 6);
const SIZE = 16 << 20;
/** Writes before a kill, at most. */
const WRITES = 300;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sigkill-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs the writer and kills it at the `lines`-th line or a little later. What it had printed. */
function runAndKill(format: string, image: string, seed: number, lines: number, delay: number): Promise<string[]> {
  const child = spawn(process.execPath, [join(ROOT, 'test/e2e/block-writer.ts'), format, image, `${seed}`]);
  let out = '';
  let errors = '';
  return new Promise((resolve, reject) => {
    let killing = false;
    child.stderr.setEncoding('utf8').on('data', (t) => {
      errors += t;
    });
    child.stdout.setEncoding('utf8').on('data', (t) => {
      out += t;
      if (killing || out.split('\n').length < lines) return;
      killing = true;
      setTimeout(() => child.kill('SIGKILL'), delay);
    });
    child.on('close', (_code, signal) => {
      if (signal === 'SIGKILL') resolve(out.split('\n').slice(0, -1));
      else reject(new Error(`the writer ended by itself: ${errors}`));
    });
  });
}

interface Model {
  /** What each sector held at the last flush that returned, and every value it was given since. */
  readonly flushed: Uint8Array;
  readonly later: Map<number, Set<number>>;
}

function replay(model: Model, lines: readonly string[]): void {
  for (const line of lines) {
    const [what, sector, count, value] = line.split(' ');
    if (what === 'flushed') {
      // One writer, in order: what was last written to a sector is what was flushed.
      for (const [s, values] of model.later) model.flushed[s] = [...values].at(-1)!;
      model.later.clear();
      continue;
    }
    for (let s = Number(sector); s < Number(sector) + Number(count); s++) {
      const values = model.later.get(s) ?? new Set();
      values.delete(Number(value));
      model.later.set(s, values.add(Number(value)));
    }
  }
}

/** Every sector holds what was flushed, or something newer. Takes over what it holds. */
function compare(model: Model, bytes: Uint8Array): void {
  for (let s = 0; s < model.flushed.length; s++) {
    const sector = bytes.subarray(s * 512, (s + 1) * 512);
    const value = sector[0];
    expect(
      sector.every((b) => b === value),
      `sector ${s} is of one piece`,
    ).toBe(true);
    if (value !== model.flushed[s]) expect(model.later.get(s)?.has(value), `sector ${s}: ${value}`).toBe(true);
    model.flushed[s] = value;
  }
  model.later.clear();
}

const KINDS = {
  qcow2: ['qcow2', ['-f', 'qcow2', '-o', 'cluster_size=4096']],
  'qcow2, large clusters': ['qcow2', ['-f', 'qcow2']],
  vhd: ['vhd', ['-f', 'vpc', '-o', 'subformat=dynamic,force_size=on']],
} as const;

it.each(Object.entries(KINDS))('%s', async (_, [format, options]) => {
  const image = join(dir, 'image');
  rmSync(image, { force: true });
  execFileSync('qemu-img', ['create', '-q', ...options, image, `${SIZE}`]);
  const model: Model = { flushed: new Uint8Array(SIZE / 512), later: new Map() };
  for (let kill = 0; kill < Math.ceil(KILLS / Object.keys(KINDS).length); kill++) {
    const lines = 1 + Math.floor(Math.random() * WRITES);
    replay(model, await runAndKill(format, image, kill + 1, lines, Math.random() * 10));
    const raw = join(dir, 'raw');
    if (format === 'qcow2') {
      const check = spawnSync('qemu-img', ['check', image], { encoding: 'utf8' });
      // 0: nothing found; 3: leaked clusters, and nothing else.
      expect([0, 3], check.stdout + check.stderr).toContain(check.status);
    }
    execFileSync('qemu-img', ['convert', '-f', format === 'vhd' ? 'vpc' : format, '-O', 'raw', image, raw]);
    compare(model, readFileSync(raw));
    // The next open gives back what leaked.
    openImage(image, format, { readOnly: false }).close();
    if (format === 'qcow2')
      expect(execFileSync('qemu-img', ['check', image], { encoding: 'utf8' })).toContain('No errors');
  }
});
