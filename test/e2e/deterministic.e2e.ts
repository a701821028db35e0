/** `--deterministic`: without input, one run is like another, to the microsecond and the instruction. */
import { expect, it } from 'vitest';
import { run } from './command.ts';

/** A whole life of a guest that needs no input: boot, sleep, look at clocks, counters and random numbers, power off. */
const SCRIPT = [
  'mount -t proc p /proc',
  'sleep 5',
  'date',
  'cat /proc/uptime /proc/interrupts /proc/sys/kernel/random/uuid',
  'poweroff -f',
].join('; ');
const APPEND = `console=hvc0 earlyprintk=xen rdinit=/bin/sh -- -c "${SCRIPT}"`;

it.each(['1', '2'])('runs alike with %s vCPUs', async (vcpus) => {
  const once = () => run(['--deterministic', '--stats', '--vcpus', vcpus, '--append', APPEND]);
  const [a, b] = [await once(), await once()];
  expect(a.status).toBe(0);
  expect(a.stdout).toContain('reboot: System halted');
  expect(b.stdout).toBe(a.stdout);
  // Counts of instructions, hypercalls, exits and exceptions; the times are the host's.
  const counts = (stderr: string) =>
    stderr.split('\n').filter((l) => !l.startsWith('time ') && !l.startsWith('build:'));
  expect(counts(a.stderr).join('\n')).toMatch(/guest instructions: [\d,]{9,}/);
  expect(counts(b.stderr)).toEqual(counts(a.stderr));
});
