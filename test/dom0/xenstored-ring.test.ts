/** The XenStore ring (docs/misc/xenstore-ring.txt): partial messages, wrap-around, hostile indices, reconnection; and noise. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { XENSTORE_ERROR, XENSTORE_RECONNECT, XENSTORE_RING_SIZE, XS } from '../../src/abi/xs_wire.ts';
import { XenStore } from '../../src/dom0/xenstored/xenstored.ts';
import { Client, message, type Reply, RingGuest } from './xs-guest.ts';

const tick = () => new Promise((resolve) => setImmediate(resolve));
let store: XenStore;
let guest: RingGuest;

beforeEach(() => {
  store = new XenStore();
  store.write('/local/domain/1', '', 'b1');
  guest = new RingGuest();
});

/** Sends as the ring takes it, collecting what comes back. */
function exchange(bytes: Uint8Array, step = Number.POSITIVE_INFINITY): Reply[] {
  const replies: Reply[] = [];
  let rest = bytes;
  for (let idle = 0; idle < 3; ) {
    const put = guest.put(rest.subarray(0, step));
    rest = rest.subarray(put);
    store.event(1);
    const got = guest.take();
    replies.push(...got);
    idle = put === 0 && got.length === 0 ? idle + 1 : 0;
  }
  return replies;
}

describe('a ring', () => {
  it('announces its features and answers', () => {
    store.introduce(1, guest.page());
    expect(guest.get('server_features')).toBe(3);
    const replies = exchange(message(XS.WRITE, 'x\0hello'));
    expect(replies).toEqual([{ type: XS.WRITE, reqId: 1, txId: 0, payload: 'OK\0' }]);
    expect(guest.notified).toBeGreaterThan(0);
    expect(store.read('/local/domain/1/x')).toBe('hello');
  });

  it.each([0, 1, 1000, 0x7fff_ffff, -20])('works from any index: %d', (start) => {
    for (const index of ['req_cons', 'req_prod', 'rsp_cons', 'rsp_prod'] as const) guest.set(index, start);
    store.introduce(1, guest.page());
    const long = 'v'.repeat(1900);
    for (let i = 0; i < 5; i++) exchange(message(XS.WRITE, `k${i}\0${long}`));
    expect(exchange(message(XS.READ, 'k4\0'))[0].payload).toBe(long);
  });

  it('puts messages together from pieces of any size', () => {
    store.introduce(1, guest.page());
    for (const step of [1, 7, 16, 17]) {
      const [reply] = exchange(message(XS.WRITE, `s\0${step}`), step);
      expect(reply.payload).toBe('OK\0');
      expect(store.read('/local/domain/1/s')).toBe(`${step}`);
    }
  });

  it('serves what was waiting when the domain is introduced', () => {
    guest.put(message(XS.MKDIR, 'early\0'));
    store.introduce(1, guest.page());
    expect(guest.take()[0].payload).toBe('OK\0');
  });

  it('delivers events without being asked', () => {
    store.introduce(1, guest.page());
    exchange(message(XS.WATCH, 'x\0tok\0'));
    guest.notified = 0;
    store.write('/local/domain/1/x', 'v');
    expect(guest.notified).toBe(1);
    expect(guest.take()).toEqual([{ type: XS.WATCH_EVENT, reqId: 0, txId: 0, payload: 'x\0tok\0' }]);
  });

  it.each([
    ['req_prod', 1025],
    ['req_prod', -1],
    ['req_cons', 5],
    ['rsp_prod', 2000],
    ['rsp_cons', 1],
  ] as const)('stops at an impossible index: %s = %d', (index, value) => {
    store.introduce(1, guest.page());
    guest.set(index, value);
    store.event(1);
    expect(guest.get('error')).toBe(XENSTORE_ERROR.RINGIDX);
    guest.set(index, 0);
    expect(exchange(message(XS.DIRECTORY, 'x\0'))).toEqual([]);
  });

  it('stops at a message that is too long', () => {
    store.introduce(1, guest.page());
    const bytes = message(XS.READ, 'x\0');
    new DataView(bytes.buffer).setUint32(12, 4097, true);
    expect(exchange(bytes)).toEqual([]);
    expect(guest.get('error')).toBe(XENSTORE_ERROR.PROTO);
  });

  it('starts over when asked, after an error too', () => {
    store.introduce(1, guest.page());
    exchange(message(XS.WATCH, 'x\0tok\0'));
    guest.put(message(XS.READ, 'half').subarray(0, 18));
    store.event(1);
    guest.set('req_prod', 5000);
    store.event(1);
    expect(guest.get('error')).toBe(XENSTORE_ERROR.RINGIDX);
    guest.set('connection', XENSTORE_RECONNECT);
    store.event(1);
    expect(
      ['connection', 'error', 'req_cons', 'req_prod', 'rsp_cons', 'rsp_prod'].map((f) => guest.get(f as 'error')),
    ).toEqual([0, 0, 0, 0, 0, 0]);
    expect(exchange(message(XS.MKDIR, 'x\0')).map((r) => r.payload)).toEqual(['OK\0']); // and no event
  });

  it('waits for a guest that does not read, and goes on when it does', () => {
    store.introduce(1, guest.page());
    const request = message(XS.READ, 'none\0');
    let sent = 0;
    for (let i = 0; i < 2000; i++) {
      sent += guest.put(request) === request.length ? 1 : 0;
      store.event(1);
      if (XENSTORE_RING_SIZE - ((guest.get('req_prod') - guest.get('req_cons')) >>> 0) < request.length) break;
    }
    expect(sent).toBeLessThan(200);
    let answers = 0;
    for (let i = 0; i < 200; i++) {
      answers += guest.take().length;
      store.event(1);
    }
    expect(answers).toBe(sent);
  });

  it('gives others their turn', async () => {
    store.introduce(1, guest.page());
    // A guest on another processor that answers each notification with more requests.
    const page = guest.page();
    const request = message(XS.READ, 'none\0');
    let answered = 0;
    store.introduce(1, {
      ...page,
      notify: () => {
        answered += guest.take().length;
        if (answered < 5000) while (guest.room >= request.length) guest.put(request);
        store.event(1);
      },
    });
    guest.put(request);
    store.event(1);
    expect(answered).toBeLessThan(200);
    for (let i = 0; i < 20; i++) await tick();
    expect(answered).toBeGreaterThan(60);
  });

  it('is left alone once the domain is released', () => {
    store.introduce(1, guest.page());
    exchange(message(XS.WATCH, 'x\0tok\0'));
    store.release(1);
    const before = guest.words.slice();
    guest.put(message(XS.READ, 'x\0'));
    store.event(1);
    store.write('/local/domain/1/x', 'v');
    expect(guest.get('rsp_prod')).toBe(before[515]);
    expect(guest.take()).toEqual([]);
  });

  it('is replaced by a second introduction', () => {
    store.introduce(1, guest.page());
    const old = guest;
    guest = new RingGuest();
    store.introduce(1, guest.page());
    expect(exchange(message(XS.MKDIR, 'y\0'))[0].payload).toBe('OK\0');
    old.put(message(XS.MKDIR, 'z\0'));
    store.event(1);
    expect(old.take()).toEqual([]);
  });
});

describe('noise', () => {
  const paths = fc.constantFrom(
    '',
    '/',
    'a',
    'a/b',
    '/local/domain/1/a',
    '/local',
    '@releaseDomain',
    '//',
    'x'.repeat(3000),
  );
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((b) => String.fromCharCode(...b)),
    fc.tuple(paths, fc.string({ maxLength: 40 })).map(([p, v]) => `${p}\0${v}`),
    fc.tuple(paths, fc.constantFrom('t', 'r1', 'n1', '0', '')).map(([p, v]) => `${p}\0${v}\0`),
    paths.map((p) => `${p}\0`),
  );
  const request = fc.record({ type: fc.oneof(fc.nat(24), fc.nat()), payload, tx: fc.nat(3) });

  it('is answered, message by message, and harms nobody', () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 40 }), (requests) => {
        const local = new XenStore({ quota: { nodes: 15, watches: 5 } });
        local.write('/local/domain/1', '', 'b1');
        local.write('/precious', 'v');
        const client = new Client(local, 1);
        for (const r of requests) expect(typeof client.ask(r.type, r.payload, r.tx)).toBe('string');
        expect(local.read('/precious')).toBe('v');
        expect(new Client(local, 0).ask(XS.CONTROL, 'check\0')).toBe('OK\0');
      }),
      { numRuns: 300 },
    );
  });

  it('in the page itself never reaches beyond it', () => {
    const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 7, maxLength: 7 }),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        (words, bytes) => {
          const local = new XenStore();
          const page = new RingGuest();
          local.introduce(1, page.page());
          for (let i = 0; i < 1024; i++) page.bytes[i] = bytes[i % 64];
          words.forEach((w, i) => {
            page.words[512 + i] = w;
          });
          for (let i = 0; i < 5; i++) local.event(1);
          const all = new Uint8Array(page.memory);
          const outside = [...all.subarray(0, page.address), ...all.subarray(page.address + 2076)];
          expect(outside.every((b) => b === 0)).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });
});
