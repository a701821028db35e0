/** The learning bridge: forwarding, queues, and what is left when a sender dies. */
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { Bridge, createBridgeMemory, MAX_PORTS } from '../../../src/dom0/backends/net/bridge/bridge.ts';
import { FORWARDING_BYTES, ForwardingTable } from '../../../src/dom0/backends/net/bridge/forwarding.ts';
import { FrameQueue, MAX_FRAME, PLAIN, QUEUE_WORDS } from '../../../src/dom0/backends/net/bridge/queue.ts';
import { bytes, packet } from './packets.ts';

const RING = 1 << 18;

function queue() {
  const memory = new SharedArrayBuffer(4096 + RING);
  return { memory, queue: new FrameQueue(memory, 0, 4096, RING) };
}

function received(bridge: Bridge, port: number): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const q = bridge.queue(port);
  for (let next = q.peek(); next; next = q.peek()) {
    frames.push(next.frame.slice());
    q.pop();
  }
  return frames;
}

describe('queue', () => {
  it('gives frames and what was said of them, in order, round and round', () => {
    const { queue: q } = queue();
    for (let n = 0; n < 3000; n++) {
      const frame = bytes(60 + ((n * 37) % 1900), n);
      const meta = { checksumBlank: n % 2 === 1, gsoSize: n % 3 ? 1400 : 0, gsoType: n % 3 };
      expect(q.put(frame, meta, 1)).toBe(true);
      if (n % 5 < 3) continue;
      for (let next = q.peek(); next; next = q.peek()) q.pop();
    }
    for (let next = q.peek(); next; next = q.peek()) q.pop();
    const meta = { checksumBlank: true, gsoSize: 9000, gsoType: 2 };
    q.put(bytes(MAX_FRAME), meta, 1);
    expect(q.peek()).toEqual({ frame: bytes(MAX_FRAME), meta });
  });

  it('goes on past 2 and 4 GiB', () => {
    const { queue: q } = queue();
    const frame = bytes(MAX_FRAME);
    for (let gone = 0; gone < 2 ** 32 + 2 ** 24; gone += MAX_FRAME) {
      if (!q.put(frame, PLAIN, 1) || !q.peek()) throw new Error(`lost after ${gone} bytes`);
      q.pop();
    }
    expect(q.put(frame, PLAIN, 1)).toBe(true);
    expect(q.peek()?.frame).toEqual(frame);
  });

  it('drops what does not fit, and waits for a reader once only', () => {
    const { queue: q } = queue();
    let put = 0;
    while (q.put(bytes(1500), PLAIN, 1)) put++;
    expect(put).toBe(Math.floor(RING / (16 + 1504)));
    const start = performance.now();
    for (let i = 0; i < 1000; i++) expect(q.put(bytes(1500), PLAIN, 1)).toBe(false);
    expect(performance.now() - start).toBeLessThan(1000);
    expect(q.dropped).toBe(1001);
    q.pop();
    expect(q.put(bytes(1500), PLAIN, 1)).toBe(true);
  });

  it('waits for a reader that comes to it 50 ms late', async () => {
    const { memory, queue: q } = queue();
    for (let room = RING; room >= 16 + 1504; room -= 16 + 1504) q.put(bytes(1500), PLAIN, 1);
    const module = new URL('../../../src/dom0/backends/net/bridge/queue.ts', import.meta.url).href;
    const code = `
      const { parentPort, workerData: [memory, ring] } = require('node:worker_threads');
      import(${JSON.stringify(module)}).then(({ FrameQueue }) => {
        const queue = new FrameQueue(memory, 0, 4096, ring);
        parentPort.postMessage('ready');
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
        for (let n = 0; n < 8; n++) queue.pop();
      });`;
    const reader = new Worker(code, { eval: true, workerData: [memory, RING] });
    await new Promise((resolve) => reader.once('message', resolve));
    for (let n = 0; n < 4; n++) expect(q.put(bytes(1500), PLAIN, 1)).toBe(true);
    expect(q.dropped).toBe(0);
    await reader.terminate();
  });

  it('refuses empty and giant frames', () => {
    const { queue: q } = queue();
    expect(q.put(new Uint8Array(0), PLAIN, 1)).toBe(false);
    expect(q.put(new Uint8Array(MAX_FRAME + 1), PLAIN, 1)).toBe(false);
    expect(q.peek()).toBeUndefined();
  });

  it('does not lead its reader astray when a sender scribbles', () => {
    const { memory, queue: q } = queue();
    const words = new Uint32Array(memory);
    for (const length of [0, MAX_FRAME + 1, 0x7fffffff, 0xfffffffe]) {
      q.put(bytes(100), PLAIN, 1);
      const [, head] = words;
      words[(4096 + (head & (RING - 1))) >> 2] = length;
      expect(q.peek()).toBeUndefined();
      q.put(bytes(80), PLAIN, 1);
      expect(q.peek()!.frame).toEqual(bytes(80));
      q.pop();
    }
  });

  it('is usable again when the lock of a dead sender is taken back', () => {
    const { memory, queue: q } = queue();
    new Int32Array(memory)[0] = 7;
    expect(q.put(bytes(60), PLAIN, 1)).toBe(false);
    q.release(8);
    expect(q.put(bytes(60), PLAIN, 1)).toBe(false);
    q.release(7);
    expect(q.put(bytes(60), PLAIN, 1)).toBe(true);
    expect(QUEUE_WORDS).toBeGreaterThanOrEqual(6);
  });
});

describe('table of addresses', () => {
  const mac = (n: number) => Uint8Array.of(0, 0x16, 0x3e, n >> 16, n >> 8, n);

  it('learns, follows a move, ages', () => {
    let now = 1000;
    const table = new ForwardingTable(new SharedArrayBuffer(FORWARDING_BYTES), 0, () => now);
    expect(table.find(mac(1))).toBe(-1);
    table.learn(mac(1), 3);
    expect(table.find(mac(1))).toBe(3);
    table.learn(mac(1), 4);
    expect(table.find(mac(1))).toBe(4);
    now += 299;
    expect(table.find(mac(1))).toBe(4);
    now += 1;
    expect(table.find(mac(1))).toBe(-1);
  });

  it('forgets a port, and keeps a few hundred addresses', () => {
    const table = new ForwardingTable(new SharedArrayBuffer(FORWARDING_BYTES), 0, () => 1000);
    for (let n = 0; n < 300; n++) table.learn(mac(n), n % 8);
    const found = Array.from({ length: 300 }, (_, n) => table.find(mac(n)));
    expect(found.filter((port, n) => port === n % 8).length).toBeGreaterThan(290);
    table.forget(3);
    expect(Array.from({ length: 300 }, (_, n) => table.find(mac(n))).filter((port) => port === 3)).toEqual([]);
  });
});

describe('bridge', () => {
  const setup = (ports: number) => {
    const bridge = new Bridge(createBridgeMemory());
    return { bridge, ports: Array.from({ length: ports }, () => bridge.attach()) };
  };
  const frame = (from: number, to: number) => packet({ version: 4, from, to, payload: bytes(10) });

  it('floods what it does not know, then sends to one port', () => {
    const { bridge, ports } = setup(3);
    bridge.forward(ports[0], frame(1, 2), PLAIN);
    expect(ports.map((p) => received(bridge, p).length)).toEqual([0, 1, 1]);
    bridge.forward(ports[1], frame(2, 1), PLAIN);
    expect(ports.map((p) => received(bridge, p).length)).toEqual([1, 0, 0]);
    bridge.forward(ports[0], frame(1, 2), PLAIN);
    expect(ports.map((p) => received(bridge, p).length)).toEqual([0, 1, 0]);
  });

  it('sends groups to all, and nothing back to where it came from', () => {
    const { bridge, ports } = setup(3);
    const broadcast = frame(1, 2);
    broadcast.fill(255, 0, 6);
    bridge.forward(ports[0], broadcast, PLAIN);
    expect(ports.map((p) => received(bridge, p).length)).toEqual([0, 1, 1]);
    bridge.forward(ports[0], frame(9, 1), PLAIN);
    expect(ports.map((p) => received(bridge, p).length)).toEqual([0, 0, 0]);
    bridge.forward(ports[0], bytes(13), PLAIN);
    expect(ports.map((p) => received(bridge, p).length)).toEqual([0, 0, 0]);
  });

  it('rings the doorbell of a port, in its own memory or in the machine’s', () => {
    const machine = new Int32Array(new SharedArrayBuffer(64));
    const bridge = new Bridge(createBridgeMemory(), machine);
    const [a, b, c] = [bridge.attach(), bridge.attach(), bridge.attach()];
    bridge.setDoorbell(b, 5);
    bridge.forward(a, frame(1, 2), PLAIN);
    const bell = bridge.doorbell(c);
    expect([machine[5], bell.words[bell.index]]).toEqual([1, 1]);
    expect(received(bridge, b)).toEqual([frame(1, 2)]);
  });

  it('has as many ports as it says, and gives them out again', () => {
    const { bridge, ports } = setup(MAX_PORTS);
    expect(new Set(ports).size).toBe(MAX_PORTS);
    expect(bridge.attach()).toBe(-1);
    bridge.forward(ports[5], frame(1, 2), PLAIN);
    bridge.detach(7);
    expect(bridge.attach()).toBe(7);
    expect(received(bridge, 7)).toEqual([]);
  });

  it('carries frames of several threads at once, and survives their being killed', async () => {
    const { bridge, ports } = setup(4);
    bridge.forward(ports[3], frame(4, 9), PLAIN);
    const module = new URL('../../../src/dom0/backends/net/bridge/bridge.ts', import.meta.url).href;
    const code = `
      const { workerData } = require('node:worker_threads');
      import(${JSON.stringify(module)}).then(({ Bridge }) => {
        const bridge = new Bridge(workerData.memory);
        const frame = workerData.frame;
        for (let n = workerData.first; ; n++) {
          new DataView(frame.buffer).setUint32(50, n);
          frame.fill(n & 255, 54);
          bridge.forward(workerData.port, frame, { checksumBlank: false, gsoSize: 0, gsoType: 0 });
        }
      });`;
    const start = (port: number, first: number) => {
      const data = {
        memory: bridge.memory,
        port,
        first,
        frame: packet({ version: 4, from: port + 1, to: 4, payload: bytes(900) }),
      };
      return new Worker(code, { eval: true, workerData: data });
    };
    const workers = [0, 1, 2].map((port) => start(port, 0));
    const last = [-1, -1, -1];
    let total = 0;
    const deadline = performance.now() + 20_000;
    for (let kills = 0; kills < 6; ) {
      expect(performance.now()).toBeLessThan(deadline);
      const q = bridge.queue(ports[3]);
      const before = total;
      for (let n = 0; n < 2000; n++) {
        const next = q.peek();
        if (!next) break;
        const from = next.frame[11] - 1;
        const count = new DataView(next.frame.buffer, next.frame.byteOffset).getUint32(50);
        expect(count).toBeGreaterThan(last[from]);
        last[from] = count;
        expect(next.frame.subarray(54).every((b) => b === (count & 255))).toBe(true);
        q.pop();
        total++;
      }
      if (total === before) await new Promise((resolve) => setTimeout(resolve, 1));
      if (total >= (kills + 1) * 3000) {
        const victim = kills++ % 3;
        await workers[victim].terminate();
        bridge.detach(ports[victim]);
        expect(bridge.attach()).toBe(ports[victim]);
        // Frames of the one before are still in the queue.
        workers[victim] = start(victim, last[victim] + 1_000_000);
      }
    }
    await Promise.all(workers.map((w) => w.terminate()));
    expect(total).toBeGreaterThanOrEqual(18_000);
  });
});
