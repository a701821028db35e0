/** The console back end: both directions of the ring, hostile indices, slow viewers, flow-controlled input, logs. */
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
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

describe('a pty', () => {
  /** Somebody who opens the terminal, as minicom does. */
  class Reader {
    readonly #fd: number;
    text = '';

    constructor(path: string) {
      this.#fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    }

    async until(done: () => boolean): Promise<void> {
      const bytes = new Uint8Array(65_536);
      while (!done()) {
        try {
          this.text += decode(bytes.slice(0, readSync(this.#fd, bytes)));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      }
    }

    type(text: string): void {
      writeSync(this.#fd, text);
    }

    close(): void {
      closeSync(this.#fd);
    }
  }

  const open = () => {
    const ttys: string[] = [];
    const daemon = new XenConsoled({ unlimited: true, onTty: (domid, path) => ttys.push(`${domid} ${path}`) });
    const console = daemon.introduce(7, 'guest', guest.page());
    expect(ttys).toHaveLength(1);
    const [, path] = /^7 (\/dev\/pts\/\d+)$/.exec(ttys[0])!;
    return { daemon, console, path };
  };

  it('shows output and takes input, each byte as it is', async () => {
    const { daemon, path } = open();
    const reader = new Reader(path);
    guest.print('login:\n\x1b[1m\u00e4');
    daemon.event(7);
    await reader.until(() => reader.text.length >= 11);
    expect(reader.text).toBe('login:\n\x1b[1m\u00e4');
    reader.type('root\r\x03\x04\x11\x7f');
    let typed = '';
    while (typed.length < 9) {
      typed += guest.type();
      await tick();
    }
    expect(typed).toBe('root\r\x03\x04\x11\x7f');
    reader.close();
    daemon.close();
    expect(existsSync(path)).toBe(false);
  });

  it('leaves no descriptor open', async () => {
    const descriptors = () => readdirSync('/dev/fd').length;
    const before = descriptors();
    for (let i = 0; i < 5; i++) open().daemon.close();
    await vi.waitFor(() => expect(descriptors()).toBe(before));
  });

  it('loses nothing while nobody has it open, and holds nobody up', async () => {
    const { daemon, path } = open();
    const lines = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, i) => `line ${from + i}\n`).join('');
    const print = (text: string) => {
      for (let rest = text; rest !== ''; ) {
        rest = guest.print(rest);
        daemon.event(7);
      }
    };
    print(lines(0, 10_000)); // more than a terminal holds
    const first = new Reader(path);
    await first.until(() => first.text.length > 30_000);
    first.close();
    print(lines(10_000, 12_000));
    const second = new Reader(path);
    const all = lines(0, 12_000);
    await second.until(() => first.text.length + second.text.length >= all.length);
    expect(first.text + second.text).toBe(all);
    second.close();
    daemon.close();
  });

  it('keeps the latest of what nobody reads', async () => {
    const { daemon, path } = open();
    const line = (i: number) => `${String(i).padStart(999, '.')}\n`;
    for (let i = 0; i < 1200; i++) {
      expect(guest.print(line(i))).toBe('');
      daemon.event(7);
    }
    const reader = new Reader(path);
    await reader.until(() => reader.text.endsWith(line(1199)));
    expect(reader.text.length).toBeGreaterThanOrEqual(1 << 20);
    expect(reader.text.length).toBeLessThan(1_150_000);
    reader.close();
    daemon.close();
  });
});

describe('a flood', () => {
  it('waits for the end of the period when its budget is spent, and is not lost', async () => {
    const console = new Console(guest.page());
    const screen = new Screen(false);
    console.attach(screen);
    let printed = 0;
    for (let i = 0; i < 5000 && guest.print('0123456789abcdef') === ''; i++) {
      printed += 16;
      console.event();
    }
    expect(printed).toBeLessThan(2200 * 16);
    expect(screen.text.length).toBeLessThan(printed);
    while (screen.text.length < printed) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(screen.text.length).toBe(printed);
    console.close();
  });

  it('has no limit where time must not matter', () => {
    const console = new Console(guest.page(), { unlimited: true });
    for (let i = 0; i < 5000; i++) {
      expect(guest.print('0123456789abcdef')).toBe('');
      console.event();
    }
    console.close();
  });
});
