/** pygrub on disks that real tools made (make.ts), and on damaged ones. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { parseExtlinuxConfig } from '../../../src/dom0/toolstack/bootloader/extlinux-config.ts';
import { ExtFileSystem } from '../../../src/dom0/toolstack/bootloader/fs/ext.ts';
import { parseGrubConfig } from '../../../src/dom0/toolstack/bootloader/grub-config.ts';
import { partitions } from '../../../src/dom0/toolstack/bootloader/partitions.ts';
import { pygrub } from '../../../src/dom0/toolstack/bootloader/pygrub.ts';
import { BootError, fromBytes } from '../../../src/dom0/toolstack/bootloader/source.ts';
import { files, GRUB_CFG } from './content.ts';

const disk = (name: string) => new Uint8Array(gunzipSync(readFileSync(new URL(`disks/${name}.gz`, import.meta.url))));
const FILE_SYSTEMS = { 'ext2-1k': 'ext2', 'ext3-1k': 'ext3', 'ext4-4k': 'ext4', 'ext4-1k-plain': 'ext4' };
const TABLES = { mbr: 1, 'mbr-logical': 5, gpt: 1 };

describe.each(Object.entries(FILE_SYSTEMS))('%s', (name, kind) => {
  const fs = ExtFileSystem.open(fromBytes(disk(name)))!;

  it('is recognised', () => {
    expect(fs.kind).toBe(kind);
  });

  it.each(Object.entries(files()))('holds %s', (file, bytes) => {
    expect(fs.readFile(`/boot/${file}`, 1 << 20)).toEqual(bytes);
  });

  it('follows links, absolute, relative, short and long', () => {
    expect(fs.readFile('/vmlinuz', 1 << 20)).toEqual(files()['kernel-2']);
    expect(fs.readFile('initrd.img', 1 << 20)).toEqual(files().ramdisk);
    expect(fs.readFile('/boot/long-link', 1 << 20)).toEqual(files()['kernel-1']);
  });

  it('says why a file cannot be read', () => {
    expect(() => fs.readFile('/boot/kernel-3', 1 << 20)).toThrow('there is no kernel-3');
    expect(() => fs.readFile('/boot', 1 << 20)).toThrow('no regular file');
    expect(() => fs.readFile('/vmlinuz/x', 1 << 20)).toThrow('no folder');
    expect(() => fs.readFile('/loop', 1 << 20)).toThrow('too many symbolic links');
    expect(() => fs.readFile('/boot/kernel-1', 600_000)).toThrow('has 600001 bytes; at most 600000');
    expect(fs.isFile('/boot/kernel-3')).toBe(false);
    expect(fs.isFile('/boot')).toBe(false);
  });

  it('is booted from as a whole disk', () => {
    const booted = pygrub(fromBytes(disk(name)));
    expect(booted).toMatchObject({ partition: 0, kernelName: '/boot/kernel-2', args: 'root=/dev/xvda1 ro single' });
    expect(booted.kernel).toEqual(files()['kernel-2']);
    expect(booted.ramdisk).toBeUndefined();
  });
});

describe.each(Object.entries(TABLES))('a disk with %s', (name, number) => {
  it('is booted from its partition', () => {
    const booted = pygrub(fromBytes(disk(name)), { entry: '0', args: 'extra' });
    expect(booted.partition).toBe(number);
    expect(booted.kernel).toEqual(files()['kernel-1']);
    expect(booted.ramdisk).toEqual(files().ramdisk);
    expect(booted.args).toBe('root=/dev/xvda1 ro quiet name=a b extra');
  });
});

describe('choice', () => {
  const source = fromBytes(disk('ext4-4k'));

  it('takes an entry by title and by id, and says what there is', () => {
    expect(pygrub(source, { entry: 'Debian GNU/Linux' }).kernelName).toBe('/boot/kernel-1');
    expect(pygrub(source, { entry: 'gnulinux-2' }).kernelName).toBe('/boot/kernel-2');
    expect(() => pygrub(source, { entry: '7' })).toThrow('0: Debian GNU/Linux, 1: Advanced');
  });

  it('takes a kernel that is named', () => {
    const booted = pygrub(source, { kernel: '/vmlinuz', ramdisk: '/initrd.img', args: 'console=hvc0' });
    expect(booted.kernel).toEqual(files()['kernel-2']);
    expect(booted.ramdisk).toEqual(files().ramdisk);
    expect(booted.args).toBe('console=hvc0');
    expect(() => pygrub(source, { kernel: '/nothing' })).toThrow('nothing to boot');
  });
});

describe('configurations', () => {
  it('reads what update-grub writes', () => {
    const menu = parseGrubConfig(GRUB_CFG);
    expect(menu.entries.map((e) => e.title)).toEqual([
      'Debian GNU/Linux',
      'Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 2',
    ]);
    expect(menu.entries[0]).toMatchObject({
      id: 'gnulinux-simple',
      kernel: '/boot/kernel-1',
      ramdisk: '/boot/ramdisk',
    });
  });

  it.each([
    ['1', 1],
    ['b', 1],
    ['id-b', 1],
    ['9', 0],
    ['$saved_entry', 0],
    ['-1', 0],
  ])('set default="%s"', (value, index) => {
    const text = `set default="${value}"; menuentry a --id id-a { linux /a; }; menuentry b --id id-b { linux /b }\n`;
    expect(parseGrubConfig(text)).toMatchObject({ default: index, entries: [{ kernel: '/a' }, { kernel: '/b' }] });
  });

  it('survives what is not closed', () => {
    for (const text of ['menuentry "a', 'menuentry a {\nlinux /a', '}}}', '\\', "'", 'menuentry a { linux', '']) {
      expect(parseGrubConfig(text).entries).toEqual([]);
    }
  });

  it('reads extlinux.conf', () => {
    const menu = parseExtlinuxConfig(
      'DEFAULT l1\nLABEL l0\n MENU LABEL ^Zero\n KERNEL /k0\n APPEND root=/dev/xvda initrd=/i0 ro\n' +
        'label l1\n linux /k1\n initrd /i1\nlabel chain\n com32 x\n',
    );
    expect(menu.default).toBe(1);
    expect(menu.entries).toEqual([
      { title: 'Zero', id: 'l0', kernel: '/k0', ramdisk: '/i0', args: 'root=/dev/xvda ro' },
      { title: 'l1', id: 'l1', kernel: '/k1', ramdisk: '/i1', args: '' },
    ]);
  });
});

describe('hostile disks', () => {
  it('are refused with a reason', () => {
    expect(() => pygrub(fromBytes(new Uint8Array(0)))).toThrow(BootError);
    expect(() => pygrub(fromBytes(new Uint8Array(1 << 20)))).toThrow('no ext2, ext3 or ext4 file system');
    const unknown = disk('ext4-4k');
    unknown[1024 + 0x60] |= 1;
    expect(() => pygrub(fromBytes(unknown))).toThrow('not supported (incompatible 0x1)');
  });

  it('cannot loop in the list of logical partitions', () => {
    const bytes = disk('mbr-logical');
    const extended = 1024 * 512;
    // The second entry of the first record: an extended partition at the same place.
    bytes.set([0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0], extended + 446 + 16);
    expect(partitions(fromBytes(bytes)).length).toBeLessThan(100);
  });

  it.each(['ext2-1k', 'ext4-4k', 'gpt', 'mbr-logical'])('%s with damage ends in a BootError or is booted', (name) => {
    const whole = disk(name);
    let s = 12345;
    const random = (below: number) => {
      s = (Math.imul(s, 1103515245) + 12345) >>> 0;
      return Math.floor((s / 2 ** 32) * below);
    };
    // Where there is something: damage elsewhere says nothing.
    const used = [...whole.keys()].filter((i) => whole[i] !== 0 && whole[i] < 0x40);
    for (let round = 0; round < 100; round++) {
      const bytes = whole.slice();
      for (let n = 1 + random(20); n > 0; n--) bytes[used[random(used.length)]] = random(256);
      const source = fromBytes(random(4) ? bytes : bytes.slice(0, random(bytes.length)));
      try {
        pygrub(source, random(2) ? { entry: '0' } : { kernel: '/boot/long-link', ramdisk: '/initrd.img' });
      } catch (error) {
        if (!(error instanceof BootError)) throw error;
      }
    }
  });
});
