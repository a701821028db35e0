/** The uplink: how frames get into passt's socket. */
import { spawnSync } from 'node:child_process';
import { Writable } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { Bridge, createBridgeMemory } from '../../../src/dom0/backends/net/bridge/bridge.ts';
import { PLAIN } from '../../../src/dom0/backends/net/bridge/queue.ts';
import { FrameReader } from '../../../src/dom0/backends/net/uplink/framing.ts';
import { FrameSender, MAX_TOGETHER } from '../../../src/dom0/backends/net/uplink/sender.ts';
import { Uplink } from '../../../src/dom0/backends/net/uplink/uplink.ts';
import { bytes, packet } from './packets.ts';

const MAC = [0x00, 0x16, 0x3e, 0, 0, 1];
const GATEWAY = [10, 0, 2, 2];
const zeros = (n: number) => new Array<number>(n).fill(0);
const ones = new Array<number>(6).fill(255);

interface Arp {
  readonly source?: number[];
  readonly hardware?: number[];
  readonly ip: number[];
  readonly target?: number[];
}

/** A request, as RFC 826 has it. */
const arp = ({ source = MAC, hardware = source, ip, target = ip }: Arp) =>
  Uint8Array.from([...ones, ...source, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...hardware, ...ip, ...zeros(6), ...target]);

describe('frames for passt', () => {
  /** A socket that takes a write when it is told to. */
  function slowSocket() {
    const writes: Buffer[] = [];
    const taken: (() => void)[] = [];
    const take = (chunk: Buffer, done: () => void) => {
      writes.push(Buffer.from(chunk));
      taken.push(done);
    };
    const socket = new Writable({
      highWaterMark: 1 << 16,
      write: (chunk, _, done) => take(chunk, done),
      writev: (chunks, done) => take(Buffer.concat(chunks.map((c) => c.chunk)), done),
    });
    return { socket, writes, taken };
  }

  it('are written whole, and no more at a time than the socket takes in one piece', async () => {
    const { socket, writes, taken } = slowSocket();
    const room = vi.fn();
    const sender = new FrameSender(socket, room);
    const lengths = [60, 1514, 65549, 60, MAX_TOGETHER, 40_000, 60, 60, ...new Array<number>(200).fill(1514)];
    const frames = lengths.map((length, n) => bytes(length, n));
    for (const frame of frames) {
      sender.add(frame);
      if (frame.length % 3 === 0) sender.flush();
    }
    sender.flush();
    const total = lengths.reduce((sum, n) => sum + n + 4, 0);
    expect([writes.length, sender.waiting]).toEqual([1, total]);
    for (let n = 0; taken.length > n; n++) {
      expect(room).toHaveBeenCalledTimes(n);
      taken[n]();
      await new Promise(setImmediate);
    }
    expect([room.mock.calls.length, sender.waiting]).toEqual([writes.length, 0]);
    const got: Uint8Array[] = [];
    for (const write of writes) {
      const before = got.length;
      let length = 0;
      const reader = new FrameReader((f) => {
        length += f.length + 4;
        got.push(Uint8Array.from(f));
      });
      reader.push(write);
      expect(length).toBe(write.length);
      if (got.length > before + 1) expect(write.length).toBeLessThanOrEqual(MAX_TOGETHER + 4);
    }
    expect(got).toEqual(frames);
    expect(writes.length).toBeLessThan(15);
  });

  it('are forgotten when the socket is gone', async () => {
    const { socket, writes } = slowSocket();
    const room = vi.fn();
    const sender = new FrameSender(socket, room);
    for (let n = 0; n < 100; n++) sender.add(bytes(1514, n));
    socket.destroy();
    sender.flush();
    await new Promise(setImmediate);
    expect([writes.length, room.mock.calls.length]).toEqual([1, 0]);
  });
});

/** An uplink whose guest is the test. */
async function uplinkOf(forwards: { hostPort: number; guestPort: number }[]) {
  const bridge = new Bridge(createBridgeMemory());
  const port = bridge.attach();
  const said: string[] = [];
  const passt = { forwards: forwards.map((f) => ({ protocol: 'tcp' as const, address: '127.0.0.1', ...f })) };
  const uplink = await Uplink.start(bridge, undefined, passt, (why) => said.push(why));
  const received: Uint8Array[] = [];
  const receive = () => {
    const queue = bridge.queue(port);
    for (let next = queue.peek(); next; next = queue.peek()) {
      received.push(next.frame.slice());
      queue.pop();
    }
    return received;
  };
  return { uplink, said, receive, send: (frame: Uint8Array, meta = PLAIN) => bridge.forward(port, frame, meta) };
}

const installed = spawnSync('passt', ['--version']).error === undefined;

describe.skipIf(!installed)('passt', () => {
  it('loses nothing of a stream of large packets', async () => {
    const { uplink, said, receive, send } = await uplinkOf([]);
    const large = packet({ version: 4, payload: bytes(65_160 - 40), flags: 4 });
    const meta = { checksumBlank: true, gsoSize: 1448, gsoType: 1 };
    const ask = arp({ ip: [10, 0, 2, 15], target: GATEWAY });
    const answers = () => receive().filter((f) => f[12] === 8 && f[13] === 6 && f[21] === 2).length;
    try {
      for (let n = 1; n <= 300; n++) {
        send(ask);
        for (let i = 0; i < 8; i++) send(large, meta);
        // More under way would fill the queue, which drops frames if this machine has no time for the uplink.
        const deadline = performance.now() + 10_000;
        for (let got = answers(); got < (n < 300 ? n - 2 : n); got = answers()) {
          if (performance.now() > deadline) throw new Error(`${got} of ${n} answers`);
          await new Promise(setImmediate);
        }
      }
      expect(said).toEqual([]);
    } finally {
      await uplink.stop();
    }
  }, 60_000);
});
