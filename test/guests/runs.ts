/** The runs of the test guests: which image with which command line. Their expected output is in expected/<name>.txt. */

export interface Run {
  readonly name: string;
  readonly image: string;
  readonly cmdline: string;
  /** Seconds it may take on the slowest judge. */
  readonly seconds: number;
  /** Default: 1. */
  readonly vcpus?: number;
  /** false: real Xen under QEMU does not get to the end of it, so that what is expected is by the processor's manual. */
  readonly judged?: false;
}

const plain = (name: string, seconds = 15): Run => ({ name, image: name, cmdline: '', seconds });
const ending = (how: string): Run => ({ name: `shutdown-${how}`, image: 'shutdown', cmdline: how, seconds: 10 });

export const RUNS: readonly Run[] = [
  plain('pagetable'),
  plain('evtchn'),
  plain('grants'),
  plain('grants2'),
  plain('grants3'),
  plain('timers'),
  plain('sched'),
  plain('entry'),
  plain('privop'),
  plain('garbage', 30),
  plain('first-fault'),
  // The same by a native processor, from Linux's user mode: test/e2e/programs/watchpoints.c.
  { ...plain('debug'), judged: false },
  ending('poweroff'),
  ending('reboot'),
  ending('suspend'),
  ending('crash'),
  ending('watchdog'),
  ending('no-handler'),
  ending('no-handler-page-fault'),
  ending('bad-stack'),
  ending('stack-in-xen'),
  ending('bad-iret'),
  ending('no-user-table'),
];

/** Those that real Xen is asked about. */
export const JUDGED: readonly Run[] = RUNS.filter((r) => r.judged !== false);

/** Guest memory in MiB: as little as Xen's builder makes do with. */
export const MEMORY_MIB = 8;

export const imagePath = (r: Run): URL => new URL(`./images/${r.image}.elf`, import.meta.url);
export const expectedPath = (r: Run): URL => new URL(`./expected/${r.name}.txt`, import.meta.url);

/** The text of an expected file: what the console showed, then how the domain ended. */
export const transcript = (console: string, end: string): string =>
  `${console.replaceAll('\r', '').trimEnd()}\n= ${end}\n`.replace(/^\n/, '');
