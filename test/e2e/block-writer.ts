/**
 * A host with one disk, written without pause until it is killed: `node block-writer.ts FORMAT IMAGE SEED`. Each line it
 * prints says what is about to be done (`write SECTOR COUNT VALUE`) or has been (`flushed`).
 */
import { writeSync } from 'node:fs';
import { BLKIF_OP } from '../../src/abi/blkif.ts';
import { Host } from '../../src/dom0/host.ts';
import { BlockFront, GrantingDomain } from '../dom0/devices/front.ts';
import { rng } from '../dom0/devices/image-kinds.ts';

const [format, target, seed] = process.argv.slice(2);
const say = (line: string) => writeSync(1, `${line}\n`);

const host = await Host.create({ memoryMiB: 128, pcpus: 1 });
const disk = await host.devices.disks.attach(0, { vdev: 'xvda', target, format });
const front = new BlockFront(new GrantingDomain(host), disk, { persistent: true });
await front.connect();
const sectors = Number(front.back('sectors'));
const random = rng(Number(seed));
for (let value = 1; ; value++) {
  const count = 8 * (1 + Math.floor(random() * 11));
  const sector = Math.floor(random() * (sectors - count));
  say(`write ${sector} ${count} ${value & 0xff}`);
  const status = await front.io(BLKIF_OP.WRITE, sector, new Uint8Array(count * 512).fill(value & 0xff));
  if (status !== 0) throw new Error(`write: ${status}`);
  if (random() > 0.1) continue;
  if ((await front.call(front.request(BLKIF_OP.FLUSH_DISKCACHE, 0, []))) !== 0) throw new Error('flush');
  say('flushed');
}
