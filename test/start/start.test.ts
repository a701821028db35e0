/** The pieces of `npm start` that need no guest: options, cache, terminal. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { XENCONS_IN_SIZE, XenconsInterface } from '../../src/abi/console.ts';
import { Cache, sha256 } from '../../src/dom0/toolstack/cache.ts';
import { copyOf } from '../../src/dom0/toolstack/kernel/bytes.ts';
import { Console } from '../../src/dom0/xenconsoled/console.ts';
import { help, parseOptions } from '../../src/start/options.ts';
import { Terminal } from '../../src/start/terminal.ts';

describe('options', () => {
  it('have defaults', () => {
    const options = parseOptions([]);
    expect(options).toMatchObject({ memory: 256, vcpus: 1, flavour: 'cloud', machineMemory: 4096, stats: false });
    expect([options.kernel, options.type]).toEqual([undefined, 'pv']);
  });

  it('are read', () => {
    const args =
      '--kernel k --ramdisk=r --append a=b --memory 512 --vcpus 2 --machine-memory 1024 --name x --log-dir d --stats';
    expect(parseOptions(['--type', 'pvh'])).toMatchObject({ type: 'pvh', vcpus: 1 });
    expect(parseOptions(args.split(' '))).toMatchObject({
      kernel: 'k',
      ramdisk: 'r',
      append: 'a=b',
      memory: 512,
      vcpus: 2,
      machineMemory: 1024,
      name: 'x',
      logDir: 'd',
      stats: true,
    });
  });

  it.each([
    ['--memory', 'lots'],
    ['--memory', '0'],
    ['--memory', '5000'],
    ['--vcpus', '1.5'],
    ['--vcpus', '129'],
    ['--machine-memory', '64'],
    ['--flavour', 'vanilla'],
    ['--type', 'hvm'],
    ['--type', 'pvh', '--vcpus', '2'],
    ['--name', '../x'],
    ['--nonsense'],
    ['--kernel'],
    ['stray'],
  ])('are refused with a reason: %s %s', (...args) => {
    expect(() => parseOptions(args.filter((a) => a !== undefined))).toThrow(/\w/);
  });

  it('are all in the help', () => {
    for (const name of [
      'kernel',
      'ramdisk',
      'append',
      'memory',
      'vcpus',
      'type',
      'machine-memory',
      'stats',
      'deterministic',
    ]) {
      expect(help()).toContain(`--${name}`);
    }
  });
});

describe('the cache', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'cache-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('keeps content under its hash, and only whole content', () => {
    const cache = new Cache(dir);
    const hash = cache.addContent(Buffer.from('hello'));
    expect(hash).toBe(sha256(Buffer.from('hello')));
    expect(Buffer.from(copyOf(cache.contentFile(hash)!)).toString()).toBe('hello');
    writeFileSync(join(dir, 'content', hash), 'hellx');
    expect(cache.contentFile(hash)).toBeUndefined();
    expect(readdirSync(join(dir, 'content'))).toEqual([hash]);
  });

  it('derives once, and again when the result is damaged', async () => {
    const cache = new Cache(dir);
    const make = vi.fn(() => Buffer.from('result'));
    const derive = async (source: string) => Buffer.from(copyOf(await cache.derived('x', source, make))).toString();
    expect([await derive('a'), await derive('a'), await derive('b')]).toEqual(['result', 'result', 'result']);
    expect(make).toHaveBeenCalledTimes(2);
    rmSync(join(dir, 'content'), { recursive: true });
    expect(await derive('a')).toBe('result');
    expect(make).toHaveBeenCalledTimes(3);
    writeFileSync(join(dir, 'notes', 'n.json'), '{');
    expect(cache.note('n')).toBeUndefined();
  });
});

describe('the terminal', () => {
  const guestPage = () => ({ memory: new SharedArrayBuffer(4096), address: 0, notify: () => {} });
  const { off } = XenconsInterface;

  function setUp(tty: boolean) {
    const input = Object.assign(new PassThrough(), { isTTY: tty, setRawMode: vi.fn() });
    const output = Object.assign(new PassThrough(), { isTTY: tty, columns: 80, rows: 25 });
    let left = false;
    const terminal = new Terminal({ input, output } as never, () => {
      left = true;
    });
    const page = guestPage();
    const words = new Int32Array(page.memory);
    const bytes = new Uint8Array(page.memory);
    const console = new Console(page);
    const print = (text: string) => {
      const prod = words[off.out_prod >>> 2];
      for (let i = 0; i < text.length; i++) bytes[off.out + ((prod + i) & 2047)] = text.charCodeAt(i);
      words[off.out_prod >>> 2] = prod + text.length;
      console.event();
    };
    const typed = () => {
      let text = '';
      const cons = words[off.in_cons >>> 2];
      const prod = words[off.in_prod >>> 2];
      for (let i = cons; i < prod; i++) text += String.fromCharCode(bytes[i & (XENCONS_IN_SIZE - 1)]);
      words[off.in_cons >>> 2] = prod;
      console.event();
      return text;
    };
    return { input, output, terminal, console, print, typed, hasLeft: () => left };
  }
  const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

  it('sends every key, and leaves at Ctrl-]', async () => {
    const t = setUp(true);
    t.terminal.start();
    expect(t.input.setRawMode).toHaveBeenLastCalledWith(true);
    t.input.write('early');
    await settle();
    t.terminal.connect(t.console);
    t.input.write('\x03');
    await settle();
    expect(t.typed()).toBe('early\x03');
    expect(t.hasLeft()).toBe(false);
    t.input.write('x\x1dy');
    await settle();
    expect(t.typed()).toBe('x');
    expect(t.hasLeft()).toBe(true);
    expect(t.terminal.environment).toContain('COLUMNS=80 LINES=25');
    t.terminal.stop();
    expect(t.input.setRawMode).toHaveBeenLastCalledWith(false);
  });

  it('holds lines back until the guest waits for them, and loses none', async () => {
    const t = setUp(false);
    t.terminal.start();
    t.terminal.connect(t.console);
    const lines = Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join('');
    t.input.end(lines);
    await settle();
    t.print('booting\r\n');
    expect(t.typed()).toBe('');
    t.print('guest:~# \x1b[6n');
    let got = '';
    for (let i = 0; i < 400 && got.length < lines.length; i++) {
      got += t.typed();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(got).toBe(lines);
    expect(t.hasLeft()).toBe(false);
    expect(t.output.read().toString()).toBe('booting\r\nguest:~# ');
    expect(t.terminal.environment).toBe('');
    t.terminal.stop();
  });
});
