/**
 * The thread of an uplink: what passt sends goes to the bridge, what the bridge has for this port goes to passt, large TCP
 * packets as they are. passt is started again if it ends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Bridge } from '../bridge/bridge.ts';
import { PLAIN } from '../bridge/queue.ts';
import { complete } from '../segment.ts';
import { FrameReader, FrameWriter } from './framing.ts';
import { type Passt, type PasstOptions, startPasst } from './passt.ts';

export interface UplinkData {
  readonly bridge: SharedArrayBuffer;
  readonly port: number;
  readonly machine?: SharedArrayBuffer;
  readonly passt: PasstOptions;
}

export type FromUplink = { readonly k: 'up' } | { readonly k: 'down'; readonly why: string };

/** What may wait in the socket before the bridge's queue is left to fill up. */
const SOCKET_LIMIT = 1 << 20;
const BATCH = 1 << 18;
/** What passt takes as one frame (ETH_MAX_MTU); it does not care what its MTU is. */
const MAX_PASST_FRAME = 65535;
const RESTART_MS = 1000;
/** It runs this long if it runs at all: wrong options and missing programs end it at once. */
const SETTLED_MS = 100;

const data = workerData as UplinkData;
const send = (m: FromUplink) => parentPort!.postMessage(m);
const bridge = new Bridge(data.bridge, data.machine && new Int32Array(data.machine));
const queue = bridge.queue(data.port);
const doorbell = bridge.doorbell(data.port);

/** Everything in the queue that the socket takes now. */
function drain(passt: Passt): void {
  const writer = new FrameWriter();
  while (passt.socket.writableLength + writer.length < SOCKET_LIMIT) {
    const next = queue.peek();
    if (!next) break;
    complete(next.frame, next.meta, (frame) => writer.add(frame), MAX_PASST_FRAME);
    queue.pop();
    if (writer.length >= BATCH) passt.socket.write(writer.take());
  }
  if (writer.length) passt.socket.write(writer.take());
}

async function pump(passt: Passt): Promise<void> {
  const reader = new FrameReader((frame) => bridge.forward(data.port, frame, PLAIN));
  passt.socket.on('data', (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch {
      passt.socket.destroy();
    }
  });
  passt.socket.on('drain', () => drain(passt));
  // A promise of its end beside each wait would keep a reaction to every frame that ever came.
  passt.socket.once('close', () => {
    Atomics.add(doorbell.words, doorbell.index, 1);
    Atomics.notify(doorbell.words, doorbell.index);
  });
  while (!passt.socket.destroyed) {
    const rung = Atomics.load(doorbell.words, doorbell.index);
    drain(passt);
    const waiting = Atomics.waitAsync(doorbell.words, doorbell.index, rung);
    if (waiting.async) await waiting.value;
  }
}

for (;;) {
  const passt = startPasst(data.passt);
  const early = await Promise.race([passt.ended, sleep(SETTLED_MS)]);
  if (early === undefined) {
    send({ k: 'up' });
    await pump(passt);
  }
  passt.socket.destroy();
  send({ k: 'down', why: await passt.ended });
  await sleep(RESTART_MS);
}
