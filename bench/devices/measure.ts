/** Runs the device lines: both sides' guests live through all of them, and take turns. */
import { randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { debianBusybox } from '../../src/start/debian.ts';
import { Child } from '../child.ts';
import type { DeviceGuest } from './guest.ts';
import { debianDisk } from './image.ts';
import { type DeviceLine, WIRE } from './lines.ts';
import { buildNet, deviceRamdisk, PORT } from './ramdisk.ts';
import type { DeviceResult } from './report.ts';
import { type DeviceFiles, type DeviceSide, OUT_ADDRESS, QemuDevices, XenolithDevices } from './sides.ts';

export interface DeviceOptions {
  readonly runs: number;
  /** Of each run of a line. */
  readonly seconds: number;
  /** One side alone. */
  readonly only?: string;
  /** Options of `xl host start`. */
  readonly hostOptions: readonly string[];
  /** Kind of guest that Xenolith boots. */
  readonly type: string;
  readonly say: (line: string) => void;
}

const SCRATCH_BYTES = 256 << 20;

async function prepare(dir: string, net: string, say: (line: string) => void): Promise<DeviceFiles> {
  const cache = new Cache();
  const debian = await debianDisk(cache, say);
  const { bytes: busybox } = await debianBusybox(cache, say);
  const files = { kernel: join(dir, 'vmlinuz'), initrd: join(dir, 'initrd'), ramdisk: join(dir, 'ramdisk') };
  writeFileSync(files.kernel, debian.kernel);
  writeFileSync(files.initrd, debian.initrd);
  writeFileSync(files.ramdisk, deviceRamdisk(busybox, net, debian.modules));
  const content = randomFillSync(new Uint8Array(SCRATCH_BYTES)); // no holes: reads come from the page cache
  const scratch = (side: string) => {
    const path = join(dir, `scratch-${side}.img`);
    writeFileSync(path, content);
    return path;
  };
  return { dir, debian, ...files, scratch };
}

async function start(side: DeviceSide): Promise<readonly DeviceGuest[]> {
  const guests = await side.start();
  for (const [n, guest] of guests.entries()) await guest.run(`ip addr add ${WIRE[n]}/24 dev eth0; ip link set eth0 up`);
  await guests[0].run(`ip addr add ${OUT_ADDRESS} dev eth1; ip link set eth1 up`);
  return guests;
}

/** Each run has the sides in another order, so that neither always comes second. */
const inTurns = (sides: readonly DeviceSide[], run: number) => (run % 2 ? [...sides].reverse() : sides);

/** `dir`: for files that are needed meanwhile. */
export async function measureDevices(
  lines: readonly DeviceLine[],
  dir: string,
  o: DeviceOptions,
): Promise<DeviceResult[]> {
  const net = buildNet(dir);
  const files = await prepare(dir, net, o.say);
  const all: readonly DeviceSide[] = [new QemuDevices(files), new XenolithDevices(files, o.hostOptions, o.type)];
  const sides = all.filter((side) => o.only === undefined || side.key === o.only);
  const running = new Map<DeviceSide, readonly DeviceGuest[]>();
  const server = new Child('the host’s server', [net, 'serve', String(PORT)]);
  const stop = async () => {
    await Promise.all(sides.map((side) => side.stop()));
    running.clear();
  };
  /** One figure. */
  const once = async (line: DeviceLine, side: DeviceSide, run: number): Promise<number> => {
    if (!line.measure) return side.boot(run);
    if (!running.has(side)) running.set(side, await start(side));
    return line.measure({ side, guests: running.get(side)!, seconds: o.seconds });
  };
  const results: DeviceResult[] = [];
  try {
    for (const line of lines) {
      if (!line.measure) await stop();
      const figures = { qemu: [] as number[], xenolith: [] as number[] };
      let error: string | undefined;
      try {
        // Once unmeasured: what is translated or unpacked once is kept for later runs, on either side.
        for (let run = -1; run < o.runs; run++) {
          for (const side of inTurns(sides, run)) {
            const figure = await once(line, side, run);
            if (run >= 0) figures[side.key].push(figure);
            o.say(
              `${line.name}: ${side.name} ${figure.toFixed(line.unit.digits)} ${line.unit.name}${run < 0 ? ' (not counted)' : ''}`,
            );
          }
        }
      } catch (e) {
        error = (e as Error).message;
        o.say(`${line.name}: ${error}`);
        await stop();
      }
      results.push({ line, ...figures, error });
    }
  } finally {
    await stop();
    await server.stop();
  }
  return results;
}
