import type { Client } from '../../api/client.ts';
import type { HostInfo } from '../../api/schema/host.ts';
import { type Command, EXIT, UsageError } from '../command.ts';
import { type Sample, topTable } from '../format/top.ts';

function number(text: string | undefined, fallback: number, what: string): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`${what} "${text}" is no number above 0`);
  return value;
}

/** What a user who looks on may change by a key. */
interface Shown {
  networks: boolean;
  vbds: boolean;
  vcpus: boolean;
  repeatHead: boolean;
}

export const top: Command = {
  name: 'top',
  summary: 'Monitor a host and the domains in real time',
  usage: '[OPTION]',
  options: [
    { short: 'd', long: 'delay', value: 'SECONDS', help: 'seconds between updates (default 3)' },
    { short: 'n', long: 'networks', help: 'output vif network data' },
    { short: 'x', long: 'vbds', help: 'output vbd block device data' },
    { short: 'r', long: 'repeat-header', help: 'repeat table header before each domain' },
    { short: 'v', long: 'vcpus', help: 'output vcpu data' },
    { short: 'b', long: 'batch', help: 'output in batch mode, no user input accepted' },
    { short: 'i', long: 'iterations', value: 'N', help: 'number of iterations before exiting' },
    { short: 'f', long: 'full-name', help: 'output the full domain name (not truncated)' },
  ],
  notes: 'Keys: n, b, v, r switch networks, block devices, vCPUs, headers; q ends it.',
  async run({ client, print }, { value, has }) {
    const c = await client();
    const delay = number(value('delay'), 3, 'delay') * 1000;
    const count = number(value('iterations'), Number.POSITIVE_INFINITY, 'iterations');
    const draw = !has('batch') && process.stdout.isTTY === true;
    const shown: Shown = {
      networks: has('networks'),
      vbds: has('vbds'),
      vcpus: has('vcpus'),
      repeatHead: has('repeat-header'),
    };
    const keys = draw && process.stdin.isTTY ? watchKeys(shown) : undefined;
    let before: Sample | undefined;
    try {
      for (let i = 0; i < count; i++) {
        const host = await c.call('host.info', {});
        const sample = await look(c, shown.vcpus);
        if (draw) process.stdout.write('\x1b[H\x1b[J');
        if (!has('batch')) for (const line of summary(host, sample)) print(line);
        const options = { ...shown, totalKiB: host.totalPages * 4, fullNames: has('full-name') };
        for (const line of topTable(sample, before, options)) print(line);
        before = sample;
        if (i + 1 === count) break;
        if (await pause(delay, keys?.next())) break;
      }
    } finally {
      keys?.stop();
    }
    return EXIT.SUCCESS;
  },
};

/** Waits so many ms, or for a key. True: it is to end. */
async function pause(ms: number, key: Promise<boolean> | undefined): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const wait = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await (key ? Promise.race([wait, key]) : wait);
  } finally {
    clearTimeout(timer);
  }
}

async function look(c: Client, withVcpus: boolean): Promise<Sample> {
  const [domains, devices] = await Promise.all([c.call('domain.list', {}), c.call('device.counters', {})]);
  const at = Date.now();
  const vcpus = new Map<number, Awaited<ReturnType<typeof c.call<'vcpu.list'>>>>();
  // A domain may go in between: then it has none.
  if (withVcpus) {
    for (const { domid } of domains) vcpus.set(domid, await c.call('vcpu.list', { domain: domid }).catch(() => []));
  }
  return { at, domains, devices: new Map(devices.map((d) => [d.domid, d])), vcpus };
}

function summary(host: HostInfo, { domains }: Sample): string[] {
  const { version: v } = host;
  const totalKiB = host.totalPages * 4;
  const freeKiB = host.freePages * 4;
  const is = {
    running: domains.filter((d) => d.running),
    blocked: domains.filter((d) => d.blocked),
    paused: domains.filter((d) => d.paused),
    crashed: domains.filter((d) => d.shutdownReason === 3),
    dying: domains.filter((d) => d.dying),
    shutdown: domains.filter((d) => d.shutdown),
  };
  const states = Object.entries(is).map(([state, { length }]) => `${length} ${state}`);
  return [
    `xl top - ${new Date().toTimeString().slice(0, 8)}   Xen ${v.major}.${v.minor}${v.extra}`,
    `${domains.length} domains: ${states.join(', ')}`,
    `Mem: ${totalKiB}k total, ${totalKiB - freeKiB}k used, ${freeKiB}k free    CPUs: ${host.cpus} @ ${Math.floor(host.cpuKhz / 1000)}MHz`,
  ];
}

/** Keys of a terminal: those of `Shown` switch at once, q, Q, Escape and Ctrl-C end. */
function watchKeys(shown: Shown): { next(): Promise<boolean>; stop(): void } {
  const SWITCHES: Readonly<Record<string, keyof Shown>> = { n: 'networks', b: 'vbds', v: 'vcpus', r: 'repeatHead' };
  const QUIT = ['q', '\x1b', '\x03'];
  const { stdin } = process;
  let tell: (quit: boolean) => void = () => {};
  const pressed = (bytes: Buffer) => {
    const key = bytes.toString('latin1').toLowerCase();
    const row = SWITCHES[key];
    if (row) shown[row] = !shown[row];
    tell(QUIT.includes(key));
  };
  stdin.setRawMode(true);
  stdin.on('data', pressed);
  return {
    /** Resolves at the next key: true if it is to end. */
    next: () =>
      new Promise((resolve) => {
        tell = resolve;
      }),
    stop: () => {
      stdin.off('data', pressed);
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
}
