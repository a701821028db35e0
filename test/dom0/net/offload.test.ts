/** Checksums and segmentation that a guest leaves to its back end; the rate limit; frames on a stream; captures. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_FRAME, PLAIN } from '../../../src/dom0/backends/net/bridge/queue.ts';
import { transportOf } from '../../../src/dom0/backends/net/packet.ts';
import { Capture } from '../../../src/dom0/backends/net/pcap.ts';
import { RateLimit } from '../../../src/dom0/backends/net/rate.ts';
import { complete } from '../../../src/dom0/backends/net/segment.ts';
import { FrameReader, FrameWriter, FramingError } from '../../../src/dom0/backends/net/uplink/framing.ts';
import { parseForward, passtArguments } from '../../../src/dom0/backends/net/uplink/passt.ts';
import { bytes, check, packet } from './packets.ts';

const BLANK = { ...PLAIN, checksumBlank: true };

function completed(frame: Uint8Array, meta = BLANK): Uint8Array[] | undefined {
  const out: Uint8Array[] = [];
  return complete(frame.slice(), meta, (f) => out.push(f.slice())) ? out : undefined;
}

describe.each([4, 6] as const)('IPv%d', (version) => {
  it.each([
    [false, false],
    [true, false],
    [false, true],
  ])('fills in a checksum (udp %s, vlan %s)', (udp, vlan) => {
    for (const length of [0, 1, 2, 9, 1000, 1433]) {
      const [frame] = completed(packet({ version, udp, vlan, payload: bytes(length) }))!;
      expect(check(frame, vlan)).toMatchObject({ transportOk: true, payload: bytes(length) });
    }
  });

  it('cuts a large packet', () => {
    const payload = bytes(40_001);
    const frame = packet({ version, payload, flags: 0x99, sequence: 0xffffff00 });
    const parts = completed(frame, { checksumBlank: true, gsoSize: 1400, gsoType: version === 4 ? 1 : 2 })!.map((f) =>
      check(f),
    );
    expect(parts.length).toBe(29);
    expect(parts.every((p) => p.transportOk)).toBe(true);
    expect(Uint8Array.from(parts.flatMap((p) => [...p.payload]))).toEqual(payload);
    parts.forEach((p, n) => {
      expect(p.sequence).toBe((0xffffff00 + n * 1400) >>> 0);
      // CWR in the first, PSH and FIN in the last.
      expect(p.flags).toBe(0x10 | (n === 0 ? 0x80 : 0) | (n === 28 ? 0x09 : 0));
      if (version === 4) expect(p).toMatchObject({ ipOk: true, id: 0x1234 + n });
    });
  });

  it('leaves a large packet whole for who takes it', () => {
    const payload = bytes(40_001);
    const meta = { checksumBlank: true, gsoSize: 1400, gsoType: version === 4 ? 1 : 2 };
    const frame = packet({ version, payload, flags: 0x99 });
    const out: Uint8Array[] = [];
    expect(complete(frame, meta, (f) => out.push(f.slice()), 65535)).toBe(true);
    expect(out.length).toBe(1);
    expect(check(out[0])).toMatchObject({
      transportOk: true,
      payload,
      flags: 0x99,
      ...(version === 4 && { ipOk: true }),
    });
  });

  it('cuts what is too large even for that as seldom as can be, between segments', () => {
    const payload = bytes(60_001);
    const meta = { checksumBlank: true, gsoSize: 1400, gsoType: version === 4 ? 1 : 2 };
    const frame = packet({ version, payload, flags: 0x99 });
    const out: Uint8Array[] = [];
    expect(complete(frame, meta, (f) => out.push(f.slice()), 40_000)).toBe(true);
    const parts = out.map((f) => check(f));
    expect(parts.map((p) => p.payload.length)).toEqual([28 * 1400, 60_001 - 28 * 1400]);
    expect(parts.map((p) => p.sequence)).toEqual([1000, 1000 + 28 * 1400]);
    expect(parts.map((p) => p.flags)).toEqual([0x90, 0x19]);
    expect(parts.every((p) => p.transportOk && p.ipOk)).toBe(true);
    expect(Buffer.concat(parts.map((p) => p.payload))).toEqual(Buffer.from(payload));
    out.length = 0;
    expect(complete(frame, meta, (f) => out.push(f.slice()), 1000)).toBe(true);
    expect(out.length).toBe(43);
  });

  it('refuses what the metadata do not fit', () => {
    const frame = packet({ version, payload: bytes(3000) });
    expect(completed(frame, { checksumBlank: true, gsoSize: 1400, gsoType: version === 4 ? 2 : 1 })).toBeUndefined();
    expect(completed(frame, { checksumBlank: true, gsoSize: 1, gsoType: version === 4 ? 1 : 2 })).toBeUndefined();
    const udp = packet({ version, udp: true, payload: bytes(3000) });
    expect(completed(udp, { checksumBlank: true, gsoSize: 1400, gsoType: version === 4 ? 1 : 2 })).toBeUndefined();
  });
});

it('a UDP checksum that comes out as 0 is sent as 0xffff', () => {
  let seen = false;
  for (let n = 0; n < 65536 && !seen; n++) {
    const [frame] = completed(packet({ version: 4, udp: true, payload: Uint8Array.of(n >> 8, n & 255) }))!;
    expect(frame[40] | frame[41]).not.toBe(0);
    seen = frame[40] === 255 && frame[41] === 255;
  }
  expect(seen).toBe(true);
});

it('leaves alone what is no whole TCP or UDP packet', () => {
  const fragment = packet({ version: 4, payload: bytes(100) });
  fragment[20] = 0x20;
  const tooLong = packet({ version: 4, payload: bytes(100) });
  tooLong[16] = 0x20;
  const arp = bytes(60);
  arp.set([8, 6], 12);
  for (const frame of [fragment, tooLong, arp, new Uint8Array(14), bytes(10)]) {
    expect(completed(frame)).toBeUndefined();
    expect(completed(frame, PLAIN)).toEqual([frame]);
  }
});

it('hostile frames are never read or written outside', () => {
  const base = [packet({ version: 4, payload: bytes(200) }), packet({ version: 6, payload: bytes(200) })];
  const changes = fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(
      fc.constantFrom(...base),
      changes,
      fc.nat(300),
      fc.nat(3000),
      fc.nat(3),
      (frame, edits, cut, gsoSize, gsoType) => {
        const hostile = frame.slice(0, cut);
        for (const [at, value] of edits) if (at < hostile.length) hostile[at] = value;
        const t = transportOf(hostile);
        if (t) expect(t.payload <= t.end && t.end <= hostile.length && t.checksum + 2 <= t.end).toBe(true);
        const guarded = new Uint8Array(hostile.length + 64).fill(0xa5);
        guarded.set(hostile, 32);
        complete(guarded.subarray(32, 32 + hostile.length), { checksumBlank: true, gsoSize, gsoType }, (f) =>
          expect(f.length).toBeLessThanOrEqual(MAX_FRAME),
        );
        expect([...guarded.subarray(0, 32), ...guarded.subarray(32 + hostile.length)].every((b) => b === 0xa5)).toBe(
          true,
        );
      },
    ),
    { numRuns: 2000 },
  );
});

describe('rate limit', () => {
  it('lets through so many bytes a window', () => {
    const limit = new RateLimit(10_000, 50_000, 0);
    let sent = 0;
    for (let now = 0; now < 1000; now += 1) {
      while (limit.take(1500, now) === 0) sent += 1500;
    }
    expect(sent).toBeGreaterThan(190_000);
    expect(sent).toBeLessThan(212_000);
  });

  it('says how long to wait, and lets a frame through that is larger than a window', () => {
    const limit = new RateLimit(1000, 50_000, 0);
    expect(limit.take(5000, 0)).toBe(0);
    expect(limit.take(100, 10)).toBeCloseTo(40);
    let waited = 10;
    for (let wait = limit.take(100, waited); wait > 0; wait = limit.take(100, waited)) waited += wait;
    expect(waited).toBeGreaterThanOrEqual(200);
    expect(waited).toBeLessThanOrEqual(250);
  });
});

describe('frames on a stream', () => {
  it('come out as they went in, however they are cut', () => {
    const frames = Array.from({ length: 200 }, (_, n) => bytes((n * 997) % 5000, n));
    const writer = new FrameWriter();
    for (const f of frames) writer.add(f);
    const stream = writer.take();
    expect(writer.length).toBe(0);
    for (const step of [1, 3, 1000, 65536, stream.length]) {
      const got: Uint8Array[] = [];
      const reader = new FrameReader((f) => got.push(Uint8Array.from(f)));
      const limit = step === 1 ? 20_000 : stream.length;
      for (let at = 0; at < limit; at += step) reader.push(stream.subarray(at, Math.min(limit, at + step)));
      expect(got).toEqual(step === 1 ? frames.slice(0, got.length) : frames);
      expect(got.length).toBeGreaterThan(5);
    }
  });

  it('end with a length that cannot be', () => {
    const reader = new FrameReader(() => {});
    expect(() => reader.push(Uint8Array.of(0, 2, 0, 0))).toThrow(FramingError);
  });
});

describe('forwards', () => {
  it('are read and given to passt', () => {
    const forwards = ['tcp:2222:22', 'udp:10.1.2.3:5353:53', 'tcp:127.0.0.2:80:8080'].map(parseForward);
    const args = passtArguments({ forwards }).join(' ');
    expect(args).toContain('--tcp-ports 127.0.0.1/2222:22 --tcp-ports 127.0.0.2/80:8080 --udp-ports 10.1.2.3/5353:53');
  });

  it.each(['', 'tcp:22', 'sctp:1:2', 'tcp:0:22', 'tcp:22:65536', 'tcp:1.2.3.256:1:2', 'tcp:1:2 --trace'])(
    '"%s" is refused',
    (text) => {
      expect(() => parseForward(text)).toThrow(`forward "${text}"`);
    },
  );
});

it('a capture is a pcap file and stops at its limit', () => {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-pcap-'));
  try {
    const path = join(dir, 'x.pcap');
    const capture = new Capture(path, 24 + 2 * (16 + 60));
    for (let n = 0; n < 5; n++) capture.frame(bytes(60, n), 1_700_000_000_123.5);
    capture.close();
    const file = readFileSync(path);
    expect(file.length).toBe(24 + 2 * 76);
    expect(file.readUInt32LE(0)).toBe(0xa1b2c3d4);
    expect([file.readUInt32LE(24), file.readUInt32LE(28), file.readUInt32LE(32)]).toEqual([1_700_000_000, 123_500, 60]);
    expect(new Uint8Array(file.subarray(40, 100))).toEqual(bytes(60, 0));
  } finally {
    rmSync(dir, { recursive: true });
  }
});
