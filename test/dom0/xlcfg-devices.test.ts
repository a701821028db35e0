/** Strings of disk=[…] and vif=[…], with the examples of xl-disk-configuration(5) and xl-network-configuration(5). */
import { describe, expect, it } from 'vitest';
import { parseDisk } from '../../src/dom0/toolstack/xlcfg/disk.ts';
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
