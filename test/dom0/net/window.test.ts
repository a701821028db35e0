/** Windows of the guest's connections, lowered to what passt's socket takes. */
import { describe, expect, it } from 'vitest';
import { complete } from '../../../src/dom0/backends/net/segment.ts';
import { WindowLimit } from '../../../src/dom0/backends/net/uplink/window.ts';
import { bytes, check, packet } from './packets.ts';

const SYN = 2;
const RST = 4;
const FIN = 1;
const ACK = 16;
const TOGETHER = 96 << 10;
const LEAST = 8 << 10;

interface Segment {
  readonly version?: 4 | 6;
  readonly flags?: number;
  readonly window?: number;
  /** The guest's port: another connection. */
  readonly port?: number;
  /** Four bytes. */
  readonly options?: readonly number[];
  readonly vlan?: boolean;
}

const ports = (vlan: boolean | undefined, version: 4 | 6) => (vlan ? 18 : 14) + (version === 4 ? 20 : 40);

/** A segment of the guest, checksums filled in. */
function segment({ version = 4, flags = ACK, window = 0xffff, port = 1, options, vlan }: Segment): Uint8Array {
  const frame = packet({ version, flags, payload: bytes(10), vlan });
  const at = ports(vlan, version);
  frame.set([port >> 8, port & 255], at);
  frame.set([window >> 8, window & 255], at + 14);
  frame.set(options ?? [1, 1, 1, 0], at + 20);
  let whole: Uint8Array | undefined;
  complete(frame, { checksumBlank: true, gsoSize: 0, gsoType: 0 }, (f) => {
    whole = f.slice();
  });
  return whole!;
}

/** The window that a segment has when the limit has seen it; its checksum must be right. */
function through(limit: WindowLimit, s: Segment): number {
  const frame = segment(s);
  const before = frame.slice();
  limit.apply(frame);
  expect(check(frame, s.vlan).transportOk).toBe(true);
  const at = ports(s.vlan, s.version ?? 4);
  const window = (frame[at + 14] << 8) | frame[at + 15];
  // Nothing else is changed.
  frame.set(before.subarray(at + 14, at + 18), at + 14);
  expect(frame).toEqual(before);
  return window;
}

const scale = (n: number) => [3, 3, n, 0];
const syn = (n: number, more: Partial<Segment> = {}): Segment => ({ flags: SYN, options: scale(n), ...more });

describe('the window of a connection', () => {
  it.each([{ version: 4 }, { version: 6 }, { version: 4, vlan: true }] as const)(
    'is lowered by the scale that its SYN told ($version, vlan $vlan)',
    (kind) => {
      for (const n of [0, 1, 2, 7, 14, 15]) {
        const limit = new WindowLimit();
        expect(through(limit, syn(n, kind))).toBe(0xffff);
        const most = Math.max(1, TOGETHER >> Math.min(n, 14));
        for (const window of [0, 1, most - 1, most, most + 1, 0x1234, 0xffff])
          if (window >= 0 && window <= 0xffff) expect(through(limit, { ...kind, window })).toBe(Math.min(window, most));
        expect(through(limit, { ...kind, flags: ACK | FIN })).toBe(Math.min(0xffff, most));
      }
    },
  );

  it('is what it says in an answer to a SYN, and without a scale', () => {
    const limit = new WindowLimit();
    expect(through(limit, syn(9, { flags: SYN | ACK }))).toBe(0xffff);
    expect(through(limit, {})).toBe(TOGETHER >> 9);
    for (const options of [
      [1, 1, 1, 0],
      [0, 3, 3, 9],
      [3, 2, 9, 0],
      [5, 0, 3, 3],
      [2, 1, 1, 1],
      [1, 1, 3, 3],
    ]) {
      through(limit, { flags: SYN, options });
      // 64 KiB at most, which are less.
      expect(through(limit, {})).toBe(0xffff);
    }
  });

  it('is left alone where its begin was not seen', () => {
    const limit = new WindowLimit();
    through(limit, syn(7, { port: 2 }));
    expect(through(limit, { port: 1 })).toBe(0xffff);
    expect(through(limit, { port: 2 })).toBe(TOGETHER >> 7);
    through(limit, { port: 2, flags: RST });
    expect(through(limit, { port: 2 })).toBe(0xffff);
  });

  it('is a part of what all together have, as long as others are active', () => {
    let now = 0;
    const limit = new WindowLimit(() => now);
    for (let port = 1; port <= 4; port++) through(limit, syn(0, { port }));
    now += 200;
    expect(through(limit, { port: 1 })).toBe(TOGETHER / 4);
    // Three fall silent.
    for (let n = 0; n < 10; n++) {
      now += 200;
      through(limit, { port: 1, window: 100 });
    }
    expect(through(limit, { port: 1 })).toBe(0xffff);
    for (let port = 1; port <= 100; port++) through(limit, syn(0, { port }));
    now += 200;
    expect(through(limit, { port: 7 })).toBe(LEAST);
  });
});

it('connections that were silent for longest are forgotten', () => {
  let now = 0;
  const limit = new WindowLimit(() => now);
  through(limit, syn(7, { port: 1 }));
  through(limit, syn(7, { port: 2 }));
  now += 10_000;
  through(limit, { port: 1 });
  for (let port = 3; port < 3 + 4095; port++) limit.apply(segment(syn(7, { port })));
  now += 10_000;
  expect(through(limit, { port: 2 })).toBe(0xffff);
  expect(through(limit, { port: 1 })).toBe(TOGETHER >> 7);
});

it('frames that are cut off, or are no TCP, are left alone', () => {
  for (const version of [4, 6] as const) {
    const limit = new WindowLimit();
    const frames = [
      segment(syn(7, { version })),
      segment({ version }),
      packet({ version, udp: true, payload: bytes(9) }),
    ];
    for (const frame of frames)
      for (let n = 0; n < frame.length; n++) {
        const cut = frame.slice(0, n);
        limit.apply(cut);
        expect(cut).toEqual(frame.subarray(0, n));
      }
  }
});
