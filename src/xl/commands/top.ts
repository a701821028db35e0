import type { DomainInfo } from '../../api/schema/domain.ts';
import { type Command, EXIT, UsageError } from '../command.ts';

/** Columns of xentop. Network and block devices are counted by their back ends, which do not report them yet. */
const HEAD = [
  ['NAME', 10],
  ['STATE', 6],
  ['CPU(sec)', 10],
  ['CPU(%)', 6],
  ['MEM(k)', 10],
  ['MEM(%)', 6],
  ['MAXMEM(k)', 10],
  ['MAXMEM(%)', 9],
  ['VCPUS', 5],
] as const;

const line = (cells: readonly string[]) => cells.map((c, i) => c.padStart(HEAD[i][1])).join(' ');
const percent = (part: number, whole: number) => (whole > 0 ? (100 * part) / whole : 0).toFixed(1);

interface Sample {
  readonly at: number;
  readonly domains: readonly DomainInfo[];
}

/** Memory beyond this is no limit. */
const NO_LIMIT_KIB = 2 ** 32;

function row(d: DomainInfo, before: Sample | undefined, at: number, totalKiB: number): string {
  const last = before?.domains.find((o) => o.domid === d.domid && o.uuid === d.uuid);
  const used = last ? d.cpuTime - last.cpuTime : 0;
  const flags = [
    d.dying && 'd',
    d.shutdown && 's',
    d.blocked && 'b',
    d.shutdownReason === 3 && 'c',
    d.paused && 'p',
    d.running && 'r',
  ];
  const limit = d.maxMemoryKiB < NO_LIMIT_KIB;
  return line([
    d.name.slice(0, 10),
    flags.map((f) => f || '-').join(''),
    `${Math.floor(d.cpuTime)}`,
    percent(used, before ? (at - before.at) / 1000 : 0),
    `${d.memoryKiB}`,
    percent(d.memoryKiB, totalKiB),
    limit ? `${d.maxMemoryKiB}` : 'no limit',
    limit ? percent(d.maxMemoryKiB, totalKiB) : 'n/a',
    `${d.vcpusOnline}`,
  ]);
}

function number(text: string | undefined, fallback: number, what: string): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`${what} "${text}" is no number above 0`);
  return value;
}

export const top: Command = {
  name: 'top',
  summary: 'Monitor a host and the domains in real time',
  usage: '[-b] [-d SECONDS] [-i N]',
  options: [
    { short: 'd', long: 'delay', value: 'SECONDS', help: 'between updates (default: 3)' },
    { short: 'b', long: 'batch', help: 'print, do not draw; for files and pipes' },
    { short: 'i', long: 'iterations', value: 'N', help: 'updates before it ends (default: for ever; q ends it)' },
  ],
  async run({ client, print }, { value, has }) {
    const c = await client();
    const delay = number(value('delay'), 3, 'delay') * 1000;
    const count = number(value('iterations'), Number.POSITIVE_INFINITY, 'iterations');
    const draw = !has('batch') && process.stdout.isTTY === true;
    const quit = draw && process.stdin.isTTY ? keyPress() : undefined;
    let before: Sample | undefined;
    try {
      for (let i = 0; i < count; i++) {
        const [domains, host] = await Promise.all([c.call('domain.list', {}), c.call('host.info', {})]);
        const at = Date.now();
        if (draw) process.stdout.write('\x1b[H\x1b[J');
        const { version: v } = host;
        const totalKiB = host.totalPages * 4;
        print(`xl top  ${new Date().toTimeString().slice(0, 8)}   Xen ${v.major}.${v.minor}${v.extra}`);
        print(
          `${domains.length} domains: ${domains.filter((d) => d.running).length} running, ${domains.filter((d) => d.blocked).length} blocked, ${domains.filter((d) => d.paused).length} paused`,
        );
        print(
          `Mem: ${totalKiB}k total, ${totalKiB - host.freePages * 4}k used, ${host.freePages * 4}k free    CPUs: ${host.cpus}`,
        );
        print(line(HEAD.map(([name]) => name)));
        for (const d of domains) print(row(d, before, at, totalKiB));
        before = { at, domains };
        if (i + 1 === count) break;
        const wait = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), delay));
        if (await (quit ? Promise.race([wait, quit.pressed]) : wait)) break;
      }
    } finally {
      quit?.stop();
    }
    return EXIT.SUCCESS;
  },
};

/** q, Q, Ctrl-C. */
const QUIT = [0x71, 0x51, 0x03];

/** Resolves to true when one of those is pressed. */
function keyPress(): { pressed: Promise<boolean>; stop: () => void } {
  const { stdin } = process;
  stdin.setRawMode(true);
  const pressed = new Promise<boolean>((resolve) => {
    stdin.on('data', (bytes: Buffer) => {
      if (bytes.some((key) => QUIT.includes(key))) resolve(true);
    });
  });
  return {
    pressed,
    stop: () => {
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
}
