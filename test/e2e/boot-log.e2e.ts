/**
 * The kernel's log here against the one it writes on real Xen 4.17 (boot-log.golden.txt: the same kernel, 2 vCPUs,
 * 256 MiB). They differ in the lines of boot-log.differences.txt and in the numbers masked below, all of which
 * docs/boot-log.md explains; any other difference is a fault.
 */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Command } from './command.ts';

const data = (name: string) =>
  readFileSync(new URL(name, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n');

/** Numbers that are other ones on every machine, or follow from the RAM disk's size. */
const MASKS: readonly RegExp[] = [
  /^(?:tsc: Detected) ([\d.]+) MHz/,
  /([\d.]+) BogoMIPS \(lpj=(\d+)\)/,
  /^audit: type=2000 audit\(([\d.:]+)\)/,
  /^sched_clock: Marking stable (.*)$/,
  /^RAMDISK: \[mem 0x04c00000-(0x[0-9a-f]+)\]/,
  /^Freeing initrd memory: (\d+)K/,
  /^Memory: (\d+)K\/261756K available .* (\d+)K reserved/,
];

/** Lines that depend on how steadily the host runs, here and under the reference machine's emulator alike. */
const CHANCE: readonly RegExp[] = [/^tsc: Fast TSC calibration /];

function mask(line: string): string {
  for (const pattern of MASKS) {
    const numbers = pattern.exec(line)?.slice(1) ?? [];
    for (const n of numbers) line = line.replace(n, '#');
  }
  return line;
}

/** Lines of `a` that `b` has not, each as often as it is missing. */
function without(a: readonly string[], b: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of b) left.set(line, (left.get(line) ?? 0) + 1);
  return a.filter((line) => {
    const n = left.get(line) ?? 0;
    left.set(line, n - 1);
    return n <= 0;
  });
}

/** The messages between the command and the next prompt, without their times. */
function messages(dmesg: string): string[] {
  return dmesg
    .replaceAll('\r', '')
    .split('\n')
    .flatMap((line) => /^\[ *\d+\.\d+\] (.*)$/.exec(line)?.[1] ?? []);
}

it("the generic kernel's log is that of real Xen, but for what is documented", async () => {
  // xl puts a space between "root" and "extra", even if there is nothing to put behind it.
  const append = 'console=hvc0 earlyprintk=xen ';
  const command = new Command(['--flavour', 'generic', '--vcpus', '2', '--append', append]);
  await command.expect(/guest:\S*# /);
  const ours = messages(await command.shell('dmesg'));
  command.type('poweroff -f\n');
  expect((await command.result()).status).toBe(0);

  const kernel = ours.find((line) => line.startsWith('Linux version '));
  const golden = data('boot-log.golden.txt');
  expect(kernel, 'the golden log is of another kernel: record it again').toBe(golden[0]);
  const comparable = (lines: readonly string[]) => lines.filter((l) => !CHANCE.some((c) => c.test(l))).map(mask);
  const [theirs, here] = [comparable(golden), comparable(ours)];
  const differences = [
    ...without(theirs, here).map((line) => `-${line}`),
    ...without(here, theirs).map((line) => `+${line}`),
  ];
  expect(differences.sort()).toEqual(data('boot-log.differences.txt').sort());
});
