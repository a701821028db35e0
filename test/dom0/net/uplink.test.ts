/** The uplink: what it keeps of the guest for a passt that is started anew, and how frames get into passt's socket. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { Bridge, createBridgeMemory } from '../../../src/dom0/backends/net/bridge/bridge.ts';
import { PLAIN } from '../../../src/dom0/backends/net/bridge/queue.ts';
import { FrameReader } from '../../../src/dom0/backends/net/uplink/framing.ts';
import { GuestAddresses } from '../../../src/dom0/backends/net/uplink/guest.ts';
import { FrameSender, MAX_TOGETHER } from '../../../src/dom0/backends/net/uplink/sender.ts';
import { Uplink } from '../../../src/dom0/backends/net/uplink/uplink.ts';
import { bytes, check, packet } from './packets.ts';

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

function udp(ip: number[], source = MAC): Uint8Array {
  const frame = packet({ version: 4, udp: true, payload: bytes(20) });
  frame.set(source, 6);
  frame.set(ip, 26);
  return frame;
}

/** The addresses that an announcement tells; throws if it is no frame that passt takes. */
function told(frame: Uint8Array | undefined): { mac: number[]; ip: number[] } | undefined {
  if (!frame) return undefined;
  const f = [...frame];
  expect(check(frame).ipOk).toBe(true);
  expect([f[0], f[12], f[13], f[14], (f[16] << 8) | f[17]]).toEqual([255, 8, 0, 0x45, f.length - 14]);
  expect([f.length, ...f.slice(30, 34)]).toEqual([60, ...GATEWAY]);
  // Neither ICMP, IGMP, TCP nor UDP: nobody answers.
  expect(f[23]).toBe(253);
  return { mac: f.slice(6, 12), ip: f.slice(26, 30) };
}

describe('addresses of the guest', () => {
  const after = (...frames: Uint8Array[]) => {
    const guest = new GuestAddresses();
    for (const frame of frames) guest.see(frame);
    return told(guest.announcement());
  };

  it('are those of its last frame', () => {
    expect(after()).toBeUndefined();
    expect(after(udp([10, 0, 2, 15]))).toEqual({ mac: MAC, ip: [10, 0, 2, 15] });
    expect(after(arp({ ip: [10, 0, 2, 77] }))).toEqual({ mac: MAC, ip: [10, 0, 2, 77] });
    const other = [2, 0, 0, 0, 0, 9];
    expect(after(udp([10, 0, 2, 15]), arp({ source: other, ip: [10, 0, 2, 16] }))).toEqual({
      mac: other,
      ip: [10, 0, 2, 16],
    });
  });

  it('are the address that passt gives, while the guest shows none', () => {
    const expected = { mac: MAC, ip: [10, 0, 2, 15] };
    expect(after(packet({ version: 6, payload: bytes(20) }))).toEqual(expected);
    expect(after(arp({ ip: [0, 0, 0, 0], target: [10, 0, 2, 77] }))).toEqual(expected);
    expect(after(udp([0, 0, 0, 0]))).toEqual(expected);
  });

  it('are not taken from what cannot be', () => {
    const known = udp([10, 0, 2, 20]);
    const expected = { mac: MAC, ip: [10, 0, 2, 20] };
    for (const ip of [
      [0, 1, 2, 3],
      [127, 0, 0, 1],
      [224, 0, 0, 1],
      [255, 255, 255, 255],
    ]) {
      expect(after(known, udp(ip))).toEqual(expected);
      expect(after(known, arp({ ip }))).toEqual(expected);
    }
    for (const source of [ones, zeros(6), [1, 0, 0x5e, 0, 0, 1]]) {
      expect(after(known, udp([10, 0, 2, 21], source))).toEqual(expected);
      expect(after(udp([10, 0, 2, 21], source))).toBeUndefined();
    }
    const lying = arp({ hardware: [2, 0, 0, 0, 0, 9], ip: [10, 0, 2, 22] });
    const version = udp([10, 0, 2, 23]);
    version[14] = 0x65;
    const token = arp({ ip: [10, 0, 2, 24] });
    token[15] = 6;
    for (const frame of [lying, version, token]) expect(after(known, frame)).toEqual(expected);
  });

  it('are not looked for behind the end of a frame', () => {
    for (const frame of [udp([10, 0, 2, 20]), arp({ ip: [10, 0, 2, 20] })]) {
      for (let n = 0; n < (frame[13] === 6 ? 42 : 34); n++) {
        const expected = n < 14 ? undefined : { mac: MAC, ip: [10, 0, 2, 15] };
        expect(after(frame.subarray(0, n))).toEqual(expected);
      }
    }
  });
});

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

/** passt's end: what it got is in a file, and it ends when it gets a frame of 100 bytes. */
const FAKE_PASST = `#!${process.execPath}
const { appendFileSync, readSync } = require('node:fs');
const log = process.env.UPLINK_TEST_LOG;
appendFileSync(log, 'started\\n');
const buffer = Buffer.alloc(1 << 20);
for (let have = 0; ; ) {
  const n = readSync(3, buffer, have, buffer.length - have, null);
  if (n === 0) break;
  have += n;
  while (have >= 4 && have >= 4 + buffer.readUInt32BE(0)) {
    const length = buffer.readUInt32BE(0);
    appendFileSync(log, buffer.toString('hex', 4, 4 + length) + '\\n');
    buffer.copy(buffer, 0, 4 + length, have);
    have -= 4 + length;
    if (length === 100) process.exit(1);
  }
}
`;

it('tells a passt that is started anew the addresses of the guest, before anything else', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'uplink-'));
  const log = join(dir, 'log');
  const path = process.env.PATH;
  writeFileSync(join(dir, 'passt'), FAKE_PASST);
  chmodSync(join(dir, 'passt'), 0o755);
  process.env.PATH = dir;
  process.env.UPLINK_TEST_LOG = log;
  const { uplink, said, send } = await uplinkOf([]);
  try {
    process.env.PATH = path;
    const lines = () => readFileSync(log, 'utf8').trim().split('\n');
    const hex = (frame: Uint8Array) => Buffer.from(frame).toString('hex');
    const [first, last, next] = [udp([10, 0, 2, 33]), udp([10, 0, 2, 33]), udp([10, 0, 2, 34])];
    const end = new Uint8Array(100);
    end.set(last);
    send(first);
    send(end);
    await vi.waitFor(() => expect(said).toHaveLength(1), { timeout: 20_000 });
    expect(said[0]).toContain('passt ended (1)');
    send(next);
    await vi.waitFor(() => expect(lines()).toContain(hex(next)), { timeout: 20_000 });
    const got = lines();
    expect(got.slice(0, 4)).toEqual(['started', hex(first), hex(end), 'started']);
    expect(told(new Uint8Array(Buffer.from(got[4], 'hex')))).toEqual({ mac: MAC, ip: [10, 0, 2, 33] });
    expect(got.slice(5)).toEqual([hex(next)]);
  } finally {
    process.env.PATH = path;
    delete process.env.UPLINK_TEST_LOG;
    await uplink.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}, 60_000);

const installed = spawnSync('passt', ['--version']).error === undefined;

/** Child processes of this one whose arguments contain a text. */
const childrenWith = (text: string) =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [, parent] = /\) . (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))!;
      return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text);
    } catch {
      return false;
    }
  });

describe.skipIf(!installed)('passt', () => {
  it('finds a silent guest after it died', async () => {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    const { uplink, said, receive, send } = await uplinkOf([{ hostPort: port, guestPort: 80 }]);
    /** Connections to the forward as the guest sees them: the addresses in the segments that open them. */
    const opened = () =>
      receive()
        .filter((f) => f[12] === 8 && f[13] === 0 && f[23] === 6 && f[47] === 2)
        .map((f) => ({ mac: [...f.slice(0, 6)], ip: [...f.slice(30, 34)], port: (f[36] << 8) | f[37] }));
    try {
      send(udp([10, 0, 2, 99]));
      await vi.waitFor(() => expect(childrenWith(`127.0.0.1/${port}:80`)).toHaveLength(1));
      for (const pid of childrenWith(`127.0.0.1/${port}:80`)) process.kill(Number(pid), 'SIGKILL');
      await vi.waitFor(() => expect(said).toHaveLength(1), { timeout: 10_000 });
      expect(said[0]).toContain('SIGKILL');
      await vi.waitFor(
        async () => {
          const socket = connect(port, '127.0.0.1');
          await new Promise((resolve, reject) => socket.on('connect', resolve).on('error', reject));
          socket.destroy();
        },
        { timeout: 20_000, interval: 100 },
      );
      await vi.waitFor(() => expect(opened()).toContainEqual({ mac: MAC, ip: [10, 0, 2, 99], port: 80 }), {
        timeout: 5000,
      });
    } finally {
      await uplink.stop();
    }
  }, 60_000);

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
