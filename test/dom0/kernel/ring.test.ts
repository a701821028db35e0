/** The back end's half of a ring against a front end that keeps the rules of public/io/ring.h, and one that keeps none. */
import { describe, expect, it } from 'vitest';
import { Sring } from '../../../src/abi/ring.ts';
import { BackRing, journalIsLive, journalSize, RingError, ringSize } from '../../../src/dom0/kernel/ring.ts';
import { rng } from '../devices/image-kinds.ts';

const PAGE = 4096;
const ENTRY = 112;
const FUZZ = Number(process.env.RING_FUZZ ?? 3000);
const { off } = Sring;

/** A front end with both halves' pages, which do not lie in a row. */
class Front {
  readonly pages: number[];
  readonly memory: SharedArrayBuffer;
  readonly journal: Uint8Array<SharedArrayBuffer>;
  readonly words: Int32Array;
  readonly size: number;
  prod = 0;
  cons = 0;

  constructor(pages: number) {
    this.memory = new SharedArrayBuffer((2 * pages + 1) * PAGE);
    this.pages = Array.from({ length: pages }, (_, i) => (2 * (pages - i) - 1) * PAGE);
    this.words = new Int32Array(this.memory);
    this.size = ringSize(pages, ENTRY);
    this.journal = new Uint8Array(new SharedArrayBuffer(journalSize(pages, ENTRY)));
    this.store(off.req_event, 1);
    this.store(off.rsp_event, 1);
  }
  back(resume = false): BackRing {
    const { memory, pages, journal } = this;
    return new BackRing({ memory, pages, entrySize: ENTRY, journal, resume });
  }
  load(offset: number): number {
    return this.words[(this.pages[0] + offset) >>> 2];
  }
  store(offset: number, value: number): void {
    this.words[(this.pages[0] + offset) >>> 2] = value;
  }
  /** Byte `n` of the entry of an index. */
  at(index: number, n: number): number {
    const from = Sring.size + (index & (this.size - 1)) * ENTRY + n;
    return this.pages[Math.floor(from / PAGE)] + (from % PAGE);
  }
  put(value: number): void {
    const bytes = new Uint8Array(this.memory);
    for (let n = 0; n < ENTRY; n++) bytes[this.at(this.prod, n)] = value + n;
    this.prod = (this.prod + 1) | 0;
  }
  /** RING_PUSH_REQUESTS_AND_CHECK_NOTIFY. */
  push(): boolean {
    const old = this.load(off.req_prod);
    this.store(off.req_prod, this.prod);
    return (this.prod - this.load(off.req_event)) >>> 0 < (this.prod - old) >>> 0;
  }
  take(): number {
    const value = new Uint8Array(this.memory)[this.at(this.cons, 0)];
    this.cons = (this.cons + 1) | 0;
    return value;
  }
  get answers(): number {
    return (this.load(off.rsp_prod) - this.cons) | 0;
  }
}

const answer = (value: number) => new Uint8Array(16).fill(value);

describe.each([1, 2, 16])('a ring of %i pages', (pages) => {
  it('carries every request and answer, and neither side sleeps while there is something for it', () => {
    const front = new Front(pages);
    const back = front.back();
    const random = rng(pages);
    const asked: number[] = [];
    let [sent, done] = [0, 0];
    // What each side knows without looking: a signal came, or it looked last and found nothing.
    let [backAwake, frontAwake] = [true, true];
    let [signals, looks] = [0, 0];
    while (done < 5000) {
      if (random() < 0.5 && frontAwake) {
        for (let n = random() * 8; n > 0 && sent - done < front.size && sent < 5000; n--) {
          front.put(sent & 0xff);
          asked.push(sent++ & 0xff);
        }
        if (front.push()) {
          signals++;
          backAwake = true;
        }
        while (front.answers > 0) {
          if (front.take() !== asked[done++]) throw new Error(`answer ${done} is another’s`);
        }
        // Sleeps: says from when on it wants to be woken, and looks once more.
        front.store(off.rsp_event, (front.cons + 1 + Math.floor(random() * 3)) | 0);
        frontAwake = front.answers > 0 || sent - done < 3;
      }
      if (random() < 0.5 && backAwake) {
        for (let n = random() * 8; n > 0 && back.waiting() > 0; n--) {
          back.take();
          const value = back.request.getUint8(0);
          let whole = true;
          for (let i = 0; i < ENTRY; i++) whole &&= back.request.getUint8(i) === ((value + i) & 0xff);
          if (!whole) throw new Error('a request was mixed up');
          back.respond(answer(value));
        }
        if (back.push()) {
          signals++;
          frontAwake = true;
        }
        looks++;
        backAwake = back.arm();
      }
      if (!backAwake && !frontAwake) {
        // Only a front end that waits for more answers than there will be may be asleep for good.
        expect(back.waiting()).toBe(0);
        frontAwake = true;
      }
    }
    expect(looks).toBeGreaterThan(0);
    // The hold-off is worth something: fewer signals than requests.
    expect(signals).toBeLessThan(5000);
  });

  it('goes on where a killed back end stopped, with requests that were taken and not answered', () => {
    const front = new Front(pages);
    const random = rng(pages + 100);
    let back = front.back();
    const got: number[] = [];
    let sent = 0;
    for (let life = 0; life < 200; life++) {
      for (let n = random() * 6; n > 0 && sent - got.length < front.size; n--) front.put(sent++ & 0xff);
      front.push();
      for (let n = random() * 4; n > 0 && back.waiting() > 0; n--) {
        back.take();
        // A slot that was taken is the back end's to write into: its request is in the journal alone then.
        if (random() < 0.7) back.respond(answer(back.request.getUint8(0)));
        else break;
      }
      if (random() < 0.5) back.push();
      expect(journalIsLive(front.journal)).toBe(true);
      back = front.back(true);
      back.pushAll();
      while (front.answers > 0) got.push(front.take());
    }
    while (got.length < sent) {
      back.take();
      back.respond(answer(back.request.getUint8(0)));
      back.push();
      got.push(front.take());
    }
    expect(got).toEqual(Array.from({ length: sent }, (_, i) => i & 0xff));
    back.close();
    expect(journalIsLive(front.journal)).toBe(false);
  });
});

it('indices wrap around', () => {
  const front = new Front(1);
  for (const offset of [off.req_prod, off.rsp_prod]) front.store(offset, -2);
  front.prod = front.cons = -2;
  front.store(off.req_event, -1);
  front.store(off.rsp_event, -1);
  const back = front.back();
  for (let n = 0; n < 5; n++) front.put(n);
  expect(front.push()).toBe(true);
  for (let n = 0; n < 5; n++) {
    back.take();
    back.respond(answer(back.request.getUint8(0)));
  }
  expect(back.push()).toBe(true);
  expect([0, 1, 2, 3, 4].map(() => front.take())).toEqual([0, 1, 2, 3, 4]);
});

it('a producer that is impossible is an error, and what is in the shared pages leads nowhere else', () => {
  const random = rng(9);
  const front = new Front(2);
  let back = front.back();
  let errors = 0;
  for (let n = 0; n < FUZZ; n++) {
    for (const offset of [off.req_prod, off.req_event, off.rsp_prod, off.rsp_event]) {
      if (random() < 0.3)
        front.store(offset, random() < 0.5 ? random() * 2 ** 32 : front.load(offset) + random() * 80 - 20);
    }
    try {
      const waiting = back.waiting();
      expect(waiting).toBeGreaterThanOrEqual(0);
      expect(waiting).toBeLessThanOrEqual(back.size);
      for (let i = 0; i < waiting; i++) {
        back.take();
        back.respond(answer(1));
      }
      back.push();
      back.arm();
    } catch (e) {
      expect(e).toBeInstanceOf(RingError);
      errors++;
      back.close();
      back = front.back();
    }
  }
  expect(errors).toBeGreaterThan(0);
  // Pages that are none of the ring's.
  const bytes = new Uint8Array(front.memory);
  for (const page of [0, 2, 4]) expect(bytes.subarray(page * PAGE, (page + 1) * PAGE).every((b) => b === 0)).toBe(true);
});
