/** cpio archives and the initramfs, byte by byte; the cpio tool itself checks them in test/e2e. */
import { describe, expect, it } from 'vitest';
import { appletNames } from '../../src/start/busybox.ts';
import { cpio, S_IFCHR, S_IFDIR, S_IFREG } from '../../src/start/cpio.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { PromptDetector } from '../../src/start/prompt.ts';

interface Entry {
  name: string;
  mode: number;
  rdev: [number, number];
  data: string;
}

/** Reads an archive back. */
function list(archive: Uint8Array): Entry[] {
  const text = Buffer.from(archive).toString('latin1');
  const entries: Entry[] = [];
  for (let at = 0; ; ) {
    expect(text.slice(at, at + 6)).toBe('070701');
    expect(at % 4).toBe(0);
    const field = (i: number) => Number.parseInt(text.slice(at + 6 + 8 * i, at + 14 + 8 * i), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const name = text.slice(at + 110, at + 110 + nameSize - 1);
    const start = (at + 110 + nameSize + 3) & ~3;
    if (name === 'TRAILER!!!') return entries;
    entries.push({ name, mode, rdev: [field(9), field(10)], data: text.slice(start, start + size) });
    at = (start + size + 3) & ~3;
  }
}

/** Something with an applet table, as a busybox has one. */
const fakeBusybox = (names: string[]) =>
  Buffer.from(`\x7fELF...\0[\0oops\0....\0${names.join('\0')}\0\0rest`, 'latin1');
const NAMES = ['[', '[[', 'cat', 'init', 'reboot', 'sh', 'zcat'];

describe('cpio', () => {
  it('writes names, modes, devices and data of any length', () => {
    const archive = cpio([
      { name: 'd', mode: S_IFDIR | 0o755 },
      { name: 'd/console', mode: S_IFCHR | 0o600, device: [5, 1] },
      ...[0, 1, 2, 3, 4, 5].map((n) => ({
        name: 'f'.repeat(n + 1),
        mode: S_IFREG | 0o644,
        data: Buffer.from('x'.repeat(n)),
      })),
    ]);
    expect(archive.length % 512).toBe(0);
    const entries = list(archive);
    expect(entries[0]).toEqual({ name: 'd', mode: 0o40755, rdev: [0, 0], data: '' });
    expect(entries[1]).toEqual({ name: 'd/console', mode: 0o20600, rdev: [5, 1], data: '' });
    expect(entries.slice(2).map((e) => e.data.length)).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe('the initramfs', () => {
  it('finds the applets of a busybox', () => {
    expect(appletNames(fakeBusybox(NAMES))).toEqual(NAMES);
    expect(() => appletNames(fakeBusybox(['[', '[[', 'cat']))).toThrow('not a busybox');
    expect(() => appletNames(Buffer.from('something else'))).toThrow('not a busybox');
  });

  it('has what a boot needs', () => {
    const busybox = fakeBusybox(NAMES);
    const entries = new Map(list(initramfs(busybox)).map((e) => [e.name, e]));
    expect(entries.get('init')?.data).toBe('bin/init');
    expect(entries.get('bin/sh')?.data).toBe('busybox');
    expect(entries.get('bin/busybox')?.data).toBe(busybox.toString('latin1'));
    expect(entries.get('dev/console')?.rdev).toEqual([5, 1]);
    expect(entries.get('etc/inittab')?.data).toContain('hvc0::respawn:-/bin/sh');
    expect(entries.get('etc/rc')!.mode & 0o111).toBe(0o111);
    for (const name of entries.keys()) {
      const folder = name.slice(0, Math.max(0, name.lastIndexOf('/')));
      if (folder !== '') expect(entries.has(folder)).toBe(true);
    }
  });

  it('has modules where modprobe looks for them', () => {
    const modules = { release: '6.1.0-9-cloud-amd64', files: new Map([['xen-blkfront', Buffer.from('module')]]) };
    const entries = new Map(list(initramfs(fakeBusybox(NAMES), modules)).map((e) => [e.name, e]));
    expect(entries.get('lib/modules')!.mode & 0o170000).toBe(S_IFDIR);
    expect(entries.get('lib/modules/6.1.0-9-cloud-amd64/xen-blkfront.ko')!.data).toBe('module');
    expect(entries.get('lib/modules/6.1.0-9-cloud-amd64/modules.dep')!.data).toBe('xen-blkfront.ko:\n');
  });

  it('is the same every time', () => {
    expect(initramfs(fakeBusybox(NAMES))).toEqual(initramfs(fakeBusybox(NAMES)));
  });
});

describe('the prompt detector', () => {
  const see = (quietMs: number, ...output: string[]) => {
    let ready = 0;
    const detector = new PromptDetector(() => {
      ready += 1;
    }, quietMs);
    for (const text of output) detector.see(Buffer.from(text));
    detector.close();
    return ready;
  };

  it.each([[['guest:~# ']], [['boot\r\nguest:~', '# \x1b[6n']], [['(gdb)\r\nuser@host$ \x1b[0m', '']]])(
    'knows a prompt: %j',
    (out) => {
      expect(see(1000, ...out)).toBe(1);
    },
  );

  it.each([[['[    0.0] CPU# ready']], [['# ']], [['a # b\r\n']], [['progress: 10%\r']]])(
    'is not fooled by %j',
    (out) => {
      expect(see(1000, ...out)).toBe(0);
    },
  );

  it('takes a long silence for waiting, but not before anything was said', async () => {
    let ready = false;
    const detector = new PromptDetector(() => {
      ready = true;
    }, 20);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(ready).toBe(false);
    detector.see(Buffer.from('login: '));
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(ready).toBe(true);
  });
});
