/** `npm run bench` measures, on both sides, what it says. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Command } from './command.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'bench-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bench = async (...args: string[]) => {
  const command = new Command(args, {}, ['node', 'bench/main.ts']);
  command.endInput();
  return await command.result();
};

it('compares programs whose results agree', async () => {
  const json = join(dir, 'bench.json');
  const result = await bench('--quick', '--lines', 'sieve,syscall', '--json', json);
  expect(result.stderr).not.toContain('failed');
  expect(result.status).toBe(0);
  expect(result.stdout).toMatch(/^ {2}sieve .*\d\.\d{3} +\d+\.\d{3} +\d+\.\d{3} +\d+\.\d\d/m);
  expect(result.stdout).toMatch(/^geometric mean +\d+\.\d\d/m);
  const { lines, geomean } = JSON.parse(readFileSync(json, 'utf8'));
  expect(lines.map((line: { name: string }) => line.name)).toEqual(['sieve', 'syscall']);
  expect(geomean).toBeGreaterThan(0);
});

it('compares disks and networks', async () => {
  const json = join(dir, 'devices.json');
  const result = await bench('--quick', '--lines', 'randread,domrr', '--json', json);
  expect(result.stderr).not.toContain('failed');
  expect(result.status).toBe(0);
  expect(result.stdout).toMatch(/^ {2}randread .* IOPS +\d+ +\d+ +\d+\.\d\d$/m);
  expect(result.stdout).toMatch(/^ {2}domrr .* us +\d+ +\d+ +\d+\.\d\d$/m);
  const { devices } = JSON.parse(readFileSync(json, 'utf8'));
  expect(devices.map((line: { name: string }) => line.name)).toEqual(['randread', 'domrr']);
});

it("measures the hypervisor's paths", async () => {
  const result = await bench('--micro');
  expect(result.stderr).toBe('');
  expect(result.stdout).toMatch(/^null_hypercall .* ns {3}(within|OVER) 150$/m);
  expect(result.stdout).toMatch(/^event_ping_pong .* ns {3}(within|OVER) 5000$/m);
});

it.each([
  [['--lines', 'nothing'], 'no such line or group'],
  [['--runs', '0'], 'a whole number from 1'],
  [['--only', 'bochs'], 'qemu or xenolith'],
])('%s is refused', async (args, message) => {
  const result = await bench(...args);
  expect(result.status).toBe(2);
  expect(result.stderr).toContain(message);
});
