/** Strings of disk=[…] and vif=[…], with the examples of xl-disk-configuration(5) and xl-network-configuration(5). */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../src/dom0/backends/block/formats/formats.ts';
import { createQcow2 } from '../../src/dom0/backends/block/formats/qcow2/create.ts';
import { bootChoice, bootFromDisk } from '../../src/dom0/toolstack/boot.ts';
import { parseDisk } from '../../src/dom0/toolstack/xlcfg/disk.ts';
import { parseDomainFile } from '../../src/dom0/toolstack/xlcfg/domain.ts';
import { parseVif } from '../../src/dom0/toolstack/xlcfg/vif.ts';

describe('disk', () => {
  it.each([
    '/dev/vg/guest-volume,,hda',
    '/dev/vg/guest-volume,raw,hda,rw',
    'format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume',
  ])('%s', (text) => {
    expect(parseDisk(text)).toMatchObject({ target: '/dev/vg/guest-volume', vdev: 'hda' });
  });

  it.each([
    ['/root/image.iso,,hdc,cdrom', { target: '/root/image.iso', vdev: 'hdc', cdrom: true }],
    ['/root/image.iso,,hdc,,cdrom', { target: '/root/image.iso', vdev: 'hdc', cdrom: true }],
    ['/root/image.iso,raw,hdc,devtype=cdrom', { format: 'raw', cdrom: true }],
    ['format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso', { readOnly: true, cdrom: true }],
    [',,hdc,devtype=cdrom', { target: '', cdrom: true }],
    [',hdc:cdrom', { vdev: 'hdc', cdrom: true }],
    ['vdev=xvda,target=/a,b=c,readonly', { target: '/a,b=c,readonly', vdev: 'xvda' }],
    ['/a.qcow2,qcow2,xvdb,ro', { format: 'qcow2', readOnly: true, target: '/a.qcow2' }],
    ['qcow2:/a,xvda', { format: 'qcow2', target: '/a' }],
    ['file:/a,xvda', { target: '/a' }],
    ['vdev=xvda,backend=drv,no-discard,backendtype=qdisk,target=x', { backend: 'drv', discard: false }],
    ['raw:/dev/vg/guest-volume,hda,w', { target: '/dev/vg/guest-volume', vdev: 'hda', readOnly: false }],
  ])('%s', (text, expected) => {
    expect(parseDisk(text)).toMatchObject(expected);
  });

  it.each([
    ['/a', 'no vdev'],
    ['/a,raw', 'no vdev'],
    ['/a,raw,vdev=', 'vdev is missing'],
    [',,xvda', 'target is missing'],
    ['/a,exe,xvda', 'unknown value for format: `exe'],
    ['/a,raw,xvda,x', 'unknown value for access: `x'],
    ['/a,raw,xvda,w,more', 'too many positional parameters: `more'],
    ['/a,qed,xvda', 'qed is not supported yet'],
    ['vdev=xvda,script=x,target=/a', 'script x is not supported yet'],
    ['iscsi:/iqn,xvda', 'script block-iscsi is not supported yet'],
    ['vdev=xvda,devtype=tape,target=/a', 'unknown value for type'],
    ['/a,raw,xvda:tape', 'unknown deprecated type'],
    ['vdev=xvda,colo,target=/a', 'COLO is not supported yet'],
    ['', 'no vdev'],
  ])('%s is refused', (text, message) => {
    expect(() => parseDisk(text)).toThrow(message);
  });
});

describe('vif', () => {
  it.each([
    ['', {}],
    ['mac=00:16:3E:74:3d:76,bridge=xenbr0', { mac: '00:16:3E:74:3d:76', bridge: 'xenbr0' }],
    [
      'bridge=br, mtu=9000, devid=3, model=e1000, type=vif, vifname=v',
      { bridge: 'br', mtu: 9000, devid: 3, model: 'e1000', vifname: 'v' },
    ],
    ['rate=10Mb/s', { rate: { bytesPerInterval: 62_500, intervalUs: 50_000 } }],
    ['rate=250KB/s', { rate: { bytesPerInterval: 12_500, intervalUs: 50_000 } }],
    ['rate=1MB/s@20ms', { rate: { bytesPerInterval: 20_000, intervalUs: 20_000 } }],
    [
      'script=/etc/xen/scripts/vif-nat,forward=tcp:2222:22,forward=udp:1:2',
      { script: 'vif-nat', forwards: ['tcp:2222:22', 'udp:1:2'] },
    ],
    ['backend=net,capture=/tmp/x.pcap', { backend: 'net', capture: '/tmp/x.pcap' }],
  ])('%s', (text, expected) => {
    expect(parseVif(text)).toEqual(expected);
  });

  it.each([
    ['nonsense', 'unrecognized argument "nonsense"'],
    ['colour=red', 'unrecognized argument "colour=red"'],
    ['type=ioemu', 'type=ioemu is not supported yet'],
    ['type=x', 'neither vif nor ioemu'],
    ['rate=fast', 'like 10Mb/s'],
    ['rate=0b/s', 'nothing at all'],
    ['mtu=x', 'mtu "x" is no number'],
    ['ip=10.0.0.1', 'ip is not supported yet'],
    ['trusted=0', 'untrusted'],
  ])('%s is refused', (text, message) => {
    expect(() => parseVif(text)).toThrow(message);
  });
});

describe('a boot loader', () => {
  const parse = (text: string) => parseDomainFile(`name="g"\n${text}`, { name: 'x.cfg', cwd: '/here' }).spec;

  it('takes the place of a kernel, and what is named is in the guest', () => {
    const spec = parse(
      'bootloader="/usr/lib/xen/bin/pygrub"\nbootloader_args="--entry 1 -q"\ndisk=["d,,xvda"]\nkernel="boot/k"',
    );
    expect(spec).toMatchObject({ bootloader: 'pygrub', bootloader_args: ['--entry', '1', '-q'], kernel: 'boot/k' });
    expect(parse('bootloader="pygrub"\nbootloader_args=["--args=a b"]').bootloader_args).toEqual(['--args=a b']);
    expect(parse('kernel="k"').kernel).toBe('/here/k');
  });

  it('that is another one is refused, and so is none without a kernel', () => {
    expect(() => parse('bootloader="eliloader"')).toThrow('x.cfg:2: bootloader: "eliloader" is not supported yet');
    expect(() => parse('')).toThrow('kernel= is missing');
  });

  it('has options', () => {
    expect(bootChoice(['--entry=2', '--args', 'a b', '-q'])).toEqual({ entry: '2', args: 'a b' });
    expect(() => bootChoice(['--output-directory=/tmp'])).toThrow('--output-directory');
    expect(() => bootChoice(['-i'])).toThrow('there is no menu');
  });

  it('reads the first disk that is no CD, in whatever format', () => {
    const dir = mkdtempSync(join(tmpdir(), 'boot-'));
    try {
      const bytes = gunzipSync(readFileSync(new URL('bootloader/disks/gpt.gz', import.meta.url)));
      const target = join(dir, 'd.qcow2');
      createQcow2(target, { size: bytes.length });
      const image = openImage(target, 'qcow2', { readOnly: false });
      image.write(0, [bytes]);
      image.close();
      const cdrom = { vdev: 'xvda', target: '', cdrom: true };
      const booted = bootFromDisk([cdrom, { vdev: 'xvdb', target, format: 'qcow2' }], { entry: '0' });
      expect(booted).toMatchObject({ partition: 1, kernelName: '/boot/kernel-1' });
      expect(() => bootFromDisk([cdrom], {})).toThrow('there is no disk to boot from');
      expect(() => bootFromDisk([{ vdev: 'xvdb', target, format: 'raw' }], {})).toThrow(
        `xvdb (${target}): nothing to boot`,
      );
      expect(() => bootFromDisk([{ vdev: 'xvdb', target: join(dir, 'no') }], {})).toThrow('bootloader=pygrub: xvdb');
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
