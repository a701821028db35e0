/** The console back end: both directions of the ring, hostile indices, slow viewers, flow-controlled input, logs. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { XENCONS_IN_SIZE, XENCONS_OUT_SIZE, XenconsInterface } from '../../src/abi/console.ts';
import { Console } from '../../src/dom0/xenconsoled/console.ts';
import { streamViewer, type Viewer, XenConsoled } from '../../src/dom0/xenconsoled/xenconsoled.ts';

const { off } = XenconsInterface;
const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const tick = () => new Promise((resolve) => setImmediate(resolve));

/** The guest's half. */
class Guest {
  readonly memory = new SharedArrayBuffer(0x3000);
  readonly words = new Int32Array(this.memory, 0x1000, XenconsInterface.size >>> 2);
  readonly bytes = new Uint8Array(this.memory, 0x1000, 3072);
  notified = 0;

  page() {
    const notify = () => {
      this.notified += 1;
    };
    return { memory: this.memory, address: 0x1000, notify };
  }

  get(field: keyof typeof off): number {
    return Atomics.load(this.words, off[field] >>> 2);
  }

  set(field: keyof typeof off, value: number): void {
    Atomics.store(this.words, off[field] >>> 2, value);
  }

  /** Prints what fits; returns the rest. */
  print(text: string): string {
    const prod = this.get('out_prod');
    const room = XENCONS_OUT_SIZE - ((prod - this.get('out_cons')) >>> 0);
    const now = encode(text.slice(0, room));
    now.forEach((byte, i) => {
      this.bytes[off.out + (((prod >>> 0) + i) & (XENCONS_OUT_SIZE - 1))] = byte;
    });
    this.set('out_prod', prod + now.length);
    return text.slice(room);
  }

  /** Reads up to `max` bytes of input. */
  type(max = XENCONS_IN_SIZE): string {
    const cons = this.get('in_cons');
    const count = Math.min(max, (this.get('in_prod') - cons) >>> 0);
    const got = Uint8Array.from({ length: count }, (_, i) => this.bytes[((cons >>> 0) + i) & (XENCONS_IN_SIZE - 1)]);
    this.set('in_cons', cons + count);
    return decode(got);
  }
}

/** A viewer whose pauses the test controls. */
class Screen implements Viewer {
  readonly paces: boolean;
  text = '';
  full = false;
  #resume: (() => void) | undefined;

  constructor(paces: boolean) {
    this.paces = paces;
  }

  write(bytes: Uint8Array): boolean {
    this.text += decode(bytes);
    return !this.full;
  }

  onDrain(resume: () => void): void {
    this.#resume = resume;
  }

  drain(): void {
    this.full = false;
    this.#resume?.();
  }
}

let guest: Guest;
let dir: string;
beforeEach(() => {
  guest = new Guest();
  dir = mkdtempSync(join(tmpdir(), 'xenconsoled-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('output', () => {
  it.each([0, 2040, 0x7fff_fff0, -8])('arrives, from any index: %d', (start) => {
    guest.set('out_cons', start);
    guest.set('out_prod', start);
    const console = new Console(guest.page());
    const screen = new Screen(true);
    console.attach(screen);
    const long = 'abcdefg'.repeat(300);
    let rest = long;
    while (rest !== '') {
      rest = guest.print(rest);
      console.event();
    }
    expect(screen.text).toBe(long);
    expect(guest.notified).toBeGreaterThan(0);
  });

  it('goes to every viewer; late ones can have what came before', () => {
    const console = new Console(guest.page());
    const [a, b, c] = [new Screen(true), new Screen(false), new Screen(true)];
    const detach = console.attach(a);
    console.attach(b);
    guest.print('one ');
    console.event();
    detach();
    console.attach(c, { replay: true });
    guest.print('two');
    console.event();
    expect([a.text, b.text, c.text]).toEqual(['one ', 'one two', 'one two']);
  });

  it('keeps a bounded history', () => {
    const console = new Console(guest.page());
    for (let i = 0; i < 200; i++) {
      guest.print(`${i}`.padEnd(2000, '.'));
      console.event();
    }
    const late = new Screen(true);
    console.attach(late, { replay: true });
    expect(late.text.length).toBeGreaterThanOrEqual(64 * 1024);
    expect(late.text.length).toBeLessThan(64 * 1024 + 2048);
    expect(late.text.endsWith('199'.padEnd(2000, '.'))).toBe(true);
  });

  it('waits for a pacing viewer, and skips for the others', () => {
    const console = new Console(guest.page());
    const [slow, lazy] = [new Screen(true), new Screen(false)];
    console.attach(slow);
    console.attach(lazy);
    slow.full = true;
    lazy.full = true;
    guest.print('1');
    console.event();
    let rest = 'x'.repeat(5000);
    for (let i = 0; i < 10; i++) {
      rest = guest.print(rest);
      console.event();
    }
    expect(slow.text).toBe('1');
    expect(rest.length).toBe(5000 - XENCONS_OUT_SIZE); // the guest waits
    slow.drain();
    while (rest !== '') {
      rest = guest.print(rest);
      console.event();
    }
    expect(slow.text).toBe(`1${'x'.repeat(5000)}`);
    lazy.drain();
    expect(lazy.text).toBe('1\r\n[5000 bytes of output skipped]\r\n');
    guest.print('2');
    console.event();
    expect(lazy.text.endsWith('\n2')).toBe(true);
  });

  it('goes on when a pacing viewer leaves or breaks', async () => {
    const console = new Console(guest.page());
    const slow = new Screen(true);
    slow.full = true;
    const detach = console.attach(slow);
    const stream = new PassThrough({ highWaterMark: 1 });
    stream.on('error', () => {});
    console.attach(streamViewer(stream, true));
    const other = new Screen(false);
    console.attach(other);
    guest.print('1');
    console.event();
    guest.print('2');
    detach();
    expect(other.text).toBe('1');
    stream.destroy(new Error('gone'));
    await tick();
    expect(other.text).toBe('12');
  });

  it.each([2049, -1, 0x8000_0000 | 0])('is not taken while indices cannot be: %d', (bad) => {
    const console = new Console(guest.page());
    const screen = new Screen(true);
    console.attach(screen);
    guest.set('out_prod', bad);
    console.event();
    expect(screen.text).toBe('');
    expect(guest.get('out_cons')).toBe(0);
    guest.set('out_prod', 0);
    guest.print('sane');
    console.event();
    expect(screen.text).toBe('sane');
  });

  it('of a guest that never stops leaves others their turn', async () => {
    let total = 0;
    const flood = new Screen(true);
    flood.write = (bytes) => {
      total += bytes.length;
      if (total < 1e6) guest.print('x'.repeat(2048));
      return true;
    };
    const console = new Console(guest.page());
    console.attach(flood);
    guest.print('x');
    console.event();
    expect(total).toBeLessThan(50_000);
    while (total < 1e6) await tick();
  });

  it('is complete when the console closes', () => {
    const console = new Console(guest.page());
    const screen = new Screen(true);
    console.attach(screen);
    guest.print('reboot: Power down');
    console.close();
    expect(screen.text).toBe('reboot: Power down');
    guest.print('more');
    console.event();
    console.input(encode('x'));
    expect(screen.text).toBe('reboot: Power down');
    expect(guest.get('in_prod')).toBe(0);
  });
});

describe('input', () => {
  it.each([0, 1020, -5])('goes in as the guest makes room, from index %d', (start) => {
    guest.set('in_cons', start);
    guest.set('in_prod', start);
    const console = new Console(guest.page());
    const text = Array.from({ length: 2000 }, (_, i) => `${i}\n`).join('');
    console.input(encode(text));
    let got = '';
    while (got.length < text.length) {
      const piece = guest.type(300);
      if (piece === '') break;
      got += piece;
      console.event();
    }
    expect(got).toBe(text);
    expect(console.inputPending).toBe(0);
  });

  it('asks the sender to pause, and to go on', () => {
    const console = new Console(guest.page());
    const chunk = new Uint8Array(16 * 1024);
    let sent = 0;
    while (console.input(chunk)) sent += 1;
    expect(sent).toBe(4);
    let room = 0;
    console.onInputRoom(() => {
      room += 1;
    });
    expect(room).toBe(0);
    for (let i = 0; i < 40; i++) {
      guest.type();
      console.event();
    }
    expect(room).toBe(1);
    for (let i = 0; i < 1000; i++) console.input(chunk);
    expect(console.inputPending).toBeLessThanOrEqual(1024 * 1024);
  });

  it('wakes waiting senders when the console closes', () => {
    const console = new Console(guest.page());
    while (console.input(new Uint8Array(16 * 1024)));
    let woken = false;
    console.onInputRoom(() => {
      woken = true;
    });
    console.close();
    expect(woken).toBe(true);
  });

  it('waits while indices cannot be', () => {
    const console = new Console(guest.page());
    guest.set('in_cons', 5);
    console.input(encode('abc'));
    expect(guest.get('in_prod')).toBe(0);
    guest.set('in_cons', 0);
    console.event();
    expect(guest.type()).toBe('abc');
  });
});

describe('logs', () => {
  it('are kept per domain, up to their limit', () => {
    const consoled = new XenConsoled({ logDir: join(dir, 'console'), logLimit: 100 });
    const console = consoled.introduce(3, '../evil name', guest.page());
    for (let i = 0; i < 25; i++) {
      guest.print(`line ${i.toString().padStart(3)}\n`);
      consoled.event(3);
    }
    consoled.release(3);
    expect(consoled.console(3)).toBeUndefined();
    expect(console.inputPending).toBe(0);
    const file = join(dir, 'console', 'guest-.._evil_name.log');
    expect(statSync(file).size).toBeLessThanOrEqual(100);
    expect(statSync(`${file}.1`).size).toBe(100);
    expect(existsSync(`${file}.2`)).toBe(false);
    expect(readFileSync(file, 'latin1').endsWith('line  24\n')).toBe(true);
  });

  it('have one for the hypervisor', () => {
    const consoled = new XenConsoled({ logDir: dir });
    consoled.hypervisorOutput('(XEN) hello\n');
    consoled.close();
    expect(readFileSync(join(dir, 'hypervisor.log'), 'latin1')).toBe('(XEN) hello\n');
  });

  it('that cannot be written do not stop the console', () => {
    const errors: string[] = [];
    const consoled = new XenConsoled({ logDir: '/dev/null/x', onLogError: (path) => errors.push(path) });
    const screen = new Screen(true);
    consoled.introduce(1, 'a', guest.page()).attach(screen);
    guest.print('hi');
    consoled.event(1);
    expect(screen.text).toBe('hi');
    expect(errors).toEqual(['/dev/null/x/hypervisor.log', '/dev/null/x/guest-a.log']);
  });
});
