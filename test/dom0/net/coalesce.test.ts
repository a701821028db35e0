/** Segments that become one frame, and what that one becomes for those who take no such frames. */
import { describe, expect, it } from 'vitest';
import { type FrameMeta, PLAIN } from '../../../src/dom0/backends/net/bridge/queue.ts';
import { complete } from '../../../src/dom0/backends/net/segment.ts';
import { Coalescer } from '../../../src/dom0/backends/net/uplink/coalesce.ts';
import { bytes, check, packet, type TcpFrame } from './packets.ts';

const ACK = 0x10;
const PSH_ACK = 0x18;

/** A frame as it comes from passt. */
function whole(o: TcpFrame): Uint8Array {
  let made: Uint8Array | undefined;
  complete(packet({ flags: ACK, ...o }), { checksumBlank: true, gsoSize: 0, gsoType: 0 }, (f) => {
    made = f.slice();
  });
  return made!;
}

/** The segments of a stream. */
function segments(version: 4 | 6, payload: Uint8Array, size: number, flags = ACK): Uint8Array[] {
  const out: Uint8Array[] = [];
  const meta = { checksumBlank: true, gsoSize: size, gsoType: version === 4 ? 1 : 2 };
  complete(packet({ version, payload, flags }), meta, (f) => out.push(f.slice()));
  return out;
}

interface Got {
  readonly frame: Uint8Array;
  readonly meta: FrameMeta;
}

function coalesce(frames: readonly Uint8Array[]): Got[] {
  const out: Got[] = [];
  const c = new Coalescer((frame, meta) => out.push({ frame: frame.slice(), meta }));
  for (const frame of frames) c.push(frame);
  c.flush();
  return out;
}

function cut({ frame, meta }: Got): Uint8Array[] {
  const out: Uint8Array[] = [];
  expect(complete(frame, meta, (f) => out.push(f.slice()))).toBe(true);
  return out;
}

describe.each([4, 6] as const)('segments of a stream, IPv%i', (version) => {
  it.each([
    [2000, 1000, ACK],
    [20_001, 1448, PSH_ACK],
    [64_000, 1460, PSH_ACK],
    [1500, 1460, ACK],
  ])('%i bytes in segments of %i are one frame, and these segments again', (length, size, flags) => {
    const payload = bytes(length);
    const sent = segments(version, payload, size, flags);
    const [got, ...more] = coalesce(sent);
    expect(more).toEqual([]);
    expect(got.meta).toEqual({ checksumBlank: true, gsoSize: size, gsoType: version === 4 ? 1 : 2 });
    expect(check(got.frame)).toMatchObject({ ipOk: true, payload, flags, sequence: 1000 });
    expect(cut(got)).toEqual(sent);
    // As a receiver sees it that takes it whole.
    let filled: Uint8Array | undefined;
    complete(
      got.frame.slice(),
      got.meta,
      (f) => {
        filled = f.slice();
      },
      65_600,
    );
    expect(check(filled!)).toMatchObject({ ipOk: true, transportOk: true, payload });
  });

  it('are as many frames as they need', () => {
    const payload = bytes(200_000);
    const sent: Uint8Array[] = [];
    for (let at = 0; at < payload.length; at += 1460)
      sent.push(whole({ version, payload: payload.subarray(at, at + 1460), sequence: 1000 + at }));
    const got = coalesce(sent);
    expect(got.length).toBe(4);
    for (const { frame } of got) expect(frame.length).toBeLessThanOrEqual(65_535 + 14);
    expect(Buffer.concat(got.map(({ frame }) => check(frame).payload))).toEqual(Buffer.from(payload));
    // Sequence numbers begin again from 0.
    const around = [0xffff_fff0, 0xffff_fff0 + 32 - 2 ** 32].map((sequence) =>
      whole({ version, payload: bytes(32), sequence }),
    );
    expect(coalesce(around).length).toBe(1);
  });

  it('are on their own where one does not follow from the other', () => {
    const first = whole({ version, payload: bytes(100) });
    const next = { version, payload: bytes(100), sequence: 1100 } as const;
    expect(coalesce([first, whole(next)]).length).toBe(1);
    const ip = 14;
    const tcp = ip + (version === 4 ? 20 : 40);
    const changed = (at: number, value: number) => {
      const frame = whole(next);
      frame[at] = value;
      return frame;
    };
    const others: Uint8Array[] = [
      whole({ ...next, sequence: 1101 }),
      whole({ ...next, sequence: 1000 }),
      whole({ ...next, payload: bytes(101) }),
      whole({ ...next, payload: bytes(0) }),
      whole({ ...next, from: 7 }),
      whole({ ...next, vlan: true }),
      whole({ ...next, udp: true }),
      ...[0x11, 0x12, 0x14, 0x30, 0x50, 0x90, 0x00, 0x08].map((flags) => whole({ ...next, flags })),
      // Type of service or flow label, hop limit, addresses.
      changed(ip + 1, 1),
      changed(version === 4 ? ip + 8 : ip + 7, 9),
      changed(tcp - 1, 77),
      // Ports, acknowledgement, window, urgent pointer, options.
      ...[0, 3, 8, 11, 14, 15, 18, 20].map((at) => changed(tcp + at, 0x55)),
      bytes(60),
      new Uint8Array(3),
    ];
    if (version === 4) others.push(changed(ip + 6, 0)); // may be fragmented
    for (const other of others) {
      expect(coalesce([first, other])).toEqual([
        { frame: first, meta: PLAIN },
        { frame: other, meta: PLAIN },
      ]);
    }
  });

  it('end with a shorter one, and with one that pushes', () => {
    const parts = [
      { sequence: 1000, payload: bytes(100) },
      { sequence: 1100, payload: bytes(99) },
      { sequence: 1199, payload: bytes(99) },
      { sequence: 1298, payload: bytes(99), flags: PSH_ACK },
      { sequence: 1397, payload: bytes(99) },
    ].map((o) => whole({ version, ...o }));
    expect(coalesce(parts).map(({ frame }) => check(frame).payload.length)).toEqual([199, 198, 99]);
    // What pushes itself begins nothing.
    expect(coalesce([parts[3], parts[4]]).length).toBe(2);
  });
});

it('frames come out in the order in which they came in, whatever they are', () => {
  let seed = 1;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % n;
  };
  const sequence = [1000, 1000, 1000];
  const sent: Uint8Array[] = [];
  for (let n = 0; n < 2000; n++) {
    const flow = random(10) < 8 ? 0 : random(3);
    const payload = bytes(random(8) === 0 ? random(200) : 200, n);
    const flags = random(20) === 0 ? PSH_ACK : ACK;
    sent.push(whole({ version: flow === 2 ? 6 : 4, from: flow, payload, sequence: sequence[flow], flags }));
    sequence[flow] += payload.length;
  }
  const got = coalesce(sent);
  expect(got.length).toBeLessThan(sent.length / 2);
  const withoutId = (f: Uint8Array) => {
    const copy = f.slice();
    if (copy[12] === 8) copy.fill(0, 18, 20).fill(0, 24, 26);
    return copy;
  };
  expect(got.flatMap((g) => (g.meta.gsoSize ? cut(g) : [g.frame])).map(withoutId)).toEqual(sent.map(withoutId));
});
