/**
 * The thread of an uplink: what passt sends goes to the bridge, what the bridge has for this port goes to passt, large TCP
 * packets as they are. passt is started again if it ends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Bridge } from '../bridge/bridge.ts';
import { complete } from '../segment.ts';
import { Coalescer } from './coalesce.ts';
import { FrameReader } from './framing.ts';
import { GuestAddresses } from './guest.ts';
import { type Passt, type PasstOptions, startPasst } from './passt.ts';
import { FrameSender, MAX_TOGETHER } from './sender.ts';
import { WindowLimit } from './window.ts';

export interface UplinkData {
  readonly bridge: SharedArrayBuffer;
  readonly port: number;
  readonly machine?: SharedArrayBuffer;
  readonly passt: PasstOptions;
}

export type FromUplink = { readonly k: 'up' } | { readonly k: 'down'; readonly why: string };

/** What may wait for the socket before the bridge's queue is left to fill up. */
const SOCKET_LIMIT = 1 << 20;
const RESTART_MS = 1000;
/** It runs this long if it runs at all: wrong options and missing programs end it at once. */
const SETTLED_MS = 100;

const data = workerData as UplinkData;
const send = (m: FromUplink) => parentPort!.postMessage(m);
const bridge = new Bridge(data.bridge, data.machine && new Int32Array(data.machine));
const queue = bridge.queue(data.port);
const doorbell = bridge.doorbell(data.port);
const guest = new GuestAddresses();
const windows = new WindowLimit();

/** Everything in the queue that the socket takes now. */
function drain(sender: FrameSender): void {
  const toPasst = (frame: Uint8Array) => {
    windows.apply(frame);
    sender.add(frame);
  };
  while (sender.waiting < SOCKET_LIMIT) {
    const next = queue.peek();
    if (!next) break;
    guest.see(next.frame);
    // passt takes TCP packets that are larger than a link carries, whatever its MTU is.
    complete(next.frame, next.meta, toPasst, MAX_TOGETHER);
    queue.pop();
  }
  sender.flush();
}

async function pump(passt: Passt, sender: FrameSender): Promise<void> {
  const coalescer = new Coalescer((frame, meta) => bridge.forward(data.port, frame, meta));
  const reader = new FrameReader((frame) => coalescer.push(frame));
  passt.socket.on('data', (chunk: Buffer) => {
    try {
      reader.push(chunk);
      // Frames lie in the chunk.
      coalescer.flush();
    } catch {
      passt.socket.destroy();
    }
  });
  // A promise of its end beside each wait would keep a reaction to every frame that ever came.
  passt.socket.once('close', () => {
    Atomics.add(doorbell.words, doorbell.index, 1);
    Atomics.notify(doorbell.words, doorbell.index);
  });
  while (!passt.socket.destroyed) {
    const rung = Atomics.load(doorbell.words, doorbell.index);
    drain(sender);
    const waiting = Atomics.waitAsync(doorbell.words, doorbell.index, rung);
    if (waiting.async) await waiting.value;
  }
}

for (;;) {
  const passt = startPasst(data.passt);
  const sender = new FrameSender(passt.socket, () => drain(sender));
  // What is in the socket before passt opens its ports, it reads before it takes connections for the guest.
  const announcement = guest.announcement();
  if (announcement) sender.add(announcement);
  sender.flush();
  const early = await Promise.race([passt.ended, sleep(SETTLED_MS)]);
  if (early === undefined) {
    send({ k: 'up' });
    await pump(passt, sender);
  }
  passt.socket.destroy();
  send({ k: 'down', why: await passt.ended });
  await sleep(RESTART_MS);
}
