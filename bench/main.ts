/**
 * `npm run bench`: the same work here and under QEMU's TCG, in turns on the same machine: same kernel, same initramfs, same
 * programs, one processor; then the lines of devices (devices/lines.ts). Prints seconds and ratios (QEMU / Xenolith: above 1 is ahead) and writes them, every single run
 * included, to build/bench.json. Needs gcc and qemu-system-x86_64 (Debian: gcc libc6-dev qemu-system-x86).
 *
 * Seconds of a program are taken in the guest, so that booting is no part of them; a guest lives through all runs, and
 * `first` is the ratio of the runs that come right after boot, with nothing translated yet. `cpu` is the ratio of the host's
 * processor time, which a loaded host disturbs less.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { partSizes } from '../src/machine/parts.ts';
import { DEVICE_LINES, type DeviceLine } from './devices/lines.ts';
import { measureDevices } from './devices/measure.ts';
import { type DeviceResult, deviceJson, deviceTable, summariseDevice } from './devices/report.ts';
import { domainsTable, measureDomains } from './domains.ts';
import { makeFiles } from './files.ts';
import { Guest, type Measured } from './guest.ts';
import { BOOT, chooseLines, LINES, type Line } from './lines.ts';
import { measureMicro, microTable } from './micro.ts';
import { runNative } from './programs.ts';
import { type Baseline, geometricMean, type Ratio, type Result, regressions, summarise, table } from './report.ts';
import { type Files, QEMU, ROOT, type Side, xenolith } from './sides.ts';
import { measureStore, storeTable } from './xenstored.ts';

const HELP = `usage: npm run bench -- [options] [-- options of npm start]

  --lines NAME,...   only these lines or groups (--list shows them)
  --devices          only the lines of devices: disk, network, debian
  --pcpus N          for these, processors of Xenolith's host (default: one less than the computer has)
  --runs N           runs of each line (default: 5, of devices and domains 3)
  --quick            one run of a quarter of the work
  --only SIDE        qemu or xenolith alone
  --type NAME        kind of guest that Xenolith boots: pv or pvh (default: pvh, which Xen recommends for Linux)
  --flavour NAME     which of Debian's kernels: cloud or generic (default: cloud)
  --micro            instead: the hypervisor's hot paths in nanoseconds (bench/micro.ts)
  --xenstored        instead: reads a second from xenstored over its socket (bench/xenstored.ts)
  --domains          instead: 1, 8, 32 and 128 domains doing the same total work (bench/domains.ts)
  --json FILE        where the figures go (default: build/bench.json)
  --check            fail if a ratio is below bench/baseline.json's by more than its tolerance
  --bless            write this run's ratios to bench/baseline.json
  --list             print the lines`;

/** Runs of a line whose median counts, where nothing is said: a machine's slow phases last longer than one. Those of devices take long. */
const RUNS = 5;
const DEVICE_RUNS = 3;

const BASELINE = new URL('baseline.json', import.meta.url);

class Usage extends Error {}

function options() {
  const dashes = process.argv.indexOf('--', 2);
  const own = process.argv.slice(2, dashes < 0 ? undefined : dashes);
  const { values } = parseArgs({
    args: own,
    options: {
      lines: { type: 'string' },
      devices: { type: 'boolean', default: false },
      pcpus: { type: 'string' },
      runs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      type: { type: 'string', default: 'pvh' },
      flavour: { type: 'string', default: 'cloud' },
      micro: { type: 'boolean', default: false },
      xenstored: { type: 'boolean', default: false },
      domains: { type: 'boolean', default: false },
      json: { type: 'string', default: join(ROOT, 'build/bench.json') },
      check: { type: 'boolean', default: false },
      bless: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const given = values.runs ?? (values.quick ? '1' : undefined);
  const runs = Number(given ?? RUNS);
  const deviceRuns = Number(given ?? DEVICE_RUNS);
  if (!Number.isInteger(runs) || runs < 1) throw new Usage(`--runs ${values.runs}: a whole number from 1 is wanted`);
  const more = dashes < 0 ? [] : process.argv.slice(dashes + 1);
  const sides = [QEMU, xenolith(['--type', values.type, ...more])];
  const chosen = sides.filter((side) => values.only === undefined || side.key === values.only);
  if (chosen.length === 0) throw new Usage(`--only ${values.only}: qemu or xenolith is wanted`);
  const names = values.lines ?? (values.devices ? 'disk,network,debian' : undefined);
  const all = chooseLines<Line | DeviceLine>([...LINES, ...DEVICE_LINES], names);
  const lines = LINES.filter((line) => all.includes(line));
  const devices = DEVICE_LINES.filter((line) => all.includes(line));
  return { ...values, runs, deviceRuns, sides: chosen, lines, devices };
}

type Collected = Record<Side['key'], Pick<Measured, 'seconds' | 'cpuSeconds'>[]>;
const collected = (): Collected => ({ qemu: [], xenolith: [] });

/** Each run has the sides in another order, so that neither always comes second. */
const inTurns = (sides: readonly Side[], run: number) => (run % 2 ? [...sides].reverse() : sides);

async function measureBoots(line: Line, sides: readonly Side[], files: Files, runs: number): Promise<Result> {
  const got = collected();
  // Once unmeasured: what is unpacked or translated once is kept for later runs, on either side.
  for (let run = -1; run < runs; run++) {
    for (const side of inTurns(sides, run)) {
      const { guest, seconds } = await Guest.boot(side, files);
      await guest.stop();
      if (run >= 0) got[side.key].push({ seconds, cpuSeconds: undefined });
    }
  }
  return { line, times: 1, ...got };
}

/** Guests that stay alive between the lines; one that fails is replaced. */
class Guests {
  readonly #files: Files;
  readonly #alive = new Map<Side, Guest>();

  constructor(files: Files) {
    this.#files = files;
  }

  async get(side: Side): Promise<Guest> {
    let guest = this.#alive.get(side);
    if (!guest) {
      ({ guest } = await Guest.boot(side, this.#files));
      this.#alive.set(side, guest);
      await guest.ready();
    }
    return guest;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#alive.values()].map((guest) => guest.stop()));
    this.#alive.clear();
  }
}

async function measureProgram(
  line: Line,
  times: number,
  sides: readonly Side[],
  guests: Guests,
  runs: number,
  executable: string,
): Promise<Result> {
  const got = collected();
  const native = runNative(executable, line.name, times);
  for (let run = 0; run < runs; run++) {
    for (const side of inTurns(sides, run)) {
      const measured = await (await guests.get(side)).run(line.name, times);
      if (measured.checksum !== native.checksum)
        throw new Error(`${side.name} computed ${measured.checksum}, the host ${native.checksum}`);
      got[side.key].push({ seconds: measured.seconds, cpuSeconds: measured.cpuSeconds });
    }
  }
  return { line, times, native: native.seconds, ...got };
}

async function measure(o: ReturnType<typeof options>, dir: string): Promise<Result[]> {
  const { executable, ...files } = await makeFiles(dir, ['--flavour', o.flavour], (l) => console.error(l));
  const guests = new Guests(files);
  const results: Result[] = [];
  try {
    for (const line of o.lines) {
      const times = o.quick ? Math.ceil(line.times / 4) : line.times;
      let result: Result;
      try {
        if (line.name === BOOT) result = await measureBoots(line, o.sides, files, o.runs);
        else result = await measureProgram(line, times, o.sides, guests, o.runs, executable);
      } catch (error) {
        result = { line, times, error: (error as Error).message };
        console.error(`${line.name}: ${result.error}`);
        await guests.stop();
      }
      results.push(result);
      const { qemu, xenolith: own, ratio } = summarise(result);
      const s = (n: number | undefined) => (n === undefined ? '-' : `${n.toFixed(3)} s`);
      console.error(`${line.name}: QEMU ${s(qemu)}, Xenolith ${s(own)}, ratio ${ratio?.toFixed(2) ?? '-'}`);
    }
  } finally {
    await guests.stop();
  }
  return results;
}

/** Seconds of each run of a device line. */
const DEVICE_SECONDS = 2;

async function measureDeviceLines(o: ReturnType<typeof options>, dir: string): Promise<DeviceResult[]> {
  const { devices, deviceRuns: runs, quick, only, pcpus, type } = o;
  if (devices.length === 0) return [];
  return await measureDevices(devices, dir, {
    ...{ runs, only, type, seconds: quick ? 1 : DEVICE_SECONDS },
    hostOptions: pcpus === undefined ? [] : [`--pcpus=${pcpus}`],
    say: (line) => console.error(line),
  });
}

function writeJson(
  file: string,
  o: ReturnType<typeof options>,
  results: readonly Result[],
  devices: readonly DeviceResult[],
): void {
  const lines = results.map((result) => {
    const { line, times, error, qemu, xenolith } = result;
    return { group: line.group, what: line.what, times, ...summarise(result), runs: { qemu, xenolith }, error };
  });
  const geomean = geometricMean(results.map((result) => summarise(result).ratio));
  const { flavour, type, quick, runs } = o;
  const all = { flavour, type, quick, runs, geomean, lines, devices: deviceJson(devices), sizes: partSizes() };
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
}

function bless(summaries: readonly Ratio[]): void {
  const old = JSON.parse(readFileSync(BASELINE, 'utf8')) as Baseline;
  const ratios = { ...old.ratios };
  for (const { name, ratio } of summaries) if (ratio !== undefined) ratios[name] = Number(ratio.toFixed(2));
  writeFileSync(BASELINE, `${JSON.stringify({ ...old, ratios }, null, 2)}\n`);
}

async function main(): Promise<number> {
  const o = options();
  if (o.help || o.list) {
    if (o.help) console.log(HELP);
    else
      for (const line of [...LINES, ...DEVICE_LINES])
        console.log(`${line.group.padEnd(16)}${line.name.padEnd(12)}${line.what}`);
    return 0;
  }
  if (o.domains) {
    console.log(domainsTable(await measureDomains(o.deviceRuns, o.quick ? 2560 : 25_600)));
    return 0;
  }
  if (o.micro) {
    for (const text of microTable(await measureMicro())) console.log(text);
    return 0;
  }
  if (o.xenstored) {
    for (const text of storeTable(await measureStore())) console.log(text);
    return 0;
  }
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-bench-'));
  try {
    const results = o.lines.length > 0 ? await measure(o, dir) : [];
    const devices = await measureDeviceLines(o, dir);
    if (results.length > 0) for (const text of table(results)) console.log(text);
    if (devices.length > 0) for (const text of deviceTable(devices)) console.log(text);
    writeJson(o.json, o, results, devices);
    const summaries = [...results.map(summarise), ...devices.map(summariseDevice)];
    if (o.bless) bless(summaries);
    const slower = o.check ? regressions(summaries, JSON.parse(readFileSync(BASELINE, 'utf8')) as Baseline) : [];
    for (const text of slower) console.error(`slower than the baseline: ${text}`);
    return slower.length > 0 || [...results, ...devices].some((result) => result.error) ? 1 : 0;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`bench: ${error instanceof Usage ? error.message : ((error as Error).stack ?? error)}`);
  process.exitCode = 2;
}
