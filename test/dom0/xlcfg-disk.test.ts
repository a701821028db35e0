/** The strings of disk= and vif=. */
import { describe, expect, it } from 'vitest';
import { parseDisk } from '../../src/dom0/toolstack/xlcfg/disk.ts';
import { parseVif } from '../../src/dom0/toolstack/xlcfg/vif.ts';

describe('a disk', () => {
  const volume = { target: '/dev/vg/guest-volume', format: 'raw', vdev: 'hda', access: 'rw', devtype: 'disk' };
  it.each([
    '/dev/vg/guest-volume,,hda',
    '/dev/vg/guest-volume,raw,hda,rw',
    'format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume',
    'raw:/dev/vg/guest-volume,hda,w',
    'phy:/dev/vg/guest-volume,hda,w',
  ])('of the manual: %s', (text) => {
    expect(parseDisk(text)).toEqual(volume);
  });

  const cd = { target: '/root/image.iso', format: 'raw', vdev: 'hdc', access: 'r', devtype: 'cdrom' };
  it.each([
    '/root/image.iso,,hdc,cdrom',
    '/root/image.iso,,hdc,,cdrom',
    '/root/image.iso,raw,hdc,devtype=cdrom',
    'format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso',
    'raw:/root/image.iso,hdc:cdrom,ro',
  ])('that is a CD, of the manual: %s', (text) => {
    expect(parseDisk(text)).toEqual(cd);
  });

  it('may have every other parameter', () => {
    expect(
      parseDisk('backend=dd,backendtype=qdisk,script=s,no-discard,untrusted,direct-io-safe,vdev=xvda,target=/a,b=c'),
    ).toEqual({
      backend: 'dd',
      backendtype: 'qdisk',
      script: 's',
      discard: false,
      trusted: false,
      directIoSafe: true,
      vdev: 'xvda',
      target: '/a,b=c',
      format: 'raw',
      access: 'rw',
      devtype: 'disk',
    });
    expect(parseDisk('nbd:/x,xvda')).toMatchObject({ script: 'block-nbd', target: '/x', vdev: 'xvda' });
    expect(parseDisk(',empty,hdc,cdrom')).toMatchObject({ target: '', format: 'empty', devtype: 'cdrom' });
    expect(parseDisk('/a,qcow2,xvda,,colo,colo-host=h').colo).toEqual(['colo', 'colo-host=h']);
  });

  it.each([
    ['', /no vdev/],
    ['/a', /no vdev/],
    ['/a,zip,xvda', /unknown value for format: `zip'/],
    ['/a,raw,xvda,x', /unknown value for access/],
    ['/a,raw,xvda,rw,more', /too many positional parameters/],
    ['/a,,xvda,vdev=xvdb', /vdev respecified/],
    ['/a,raw,xvda,format=vhd', /format respecified/],
    ['/a,,xvda,devtype=floppy', /unknown value for type/],
    ['/a,,xvda,sparkle=1', /unknown parameter/],
    ['vdev=xvda', /no target/],
    ['/a,,xvda,r,=x', /bad disk syntax/],
  ])('is refused: %j', (text, message) => {
    expect(() => parseDisk(text)).toThrow(message);
  });
});

describe('a network device', () => {
  it('has parameters', () => {
    expect(parseVif('')).toEqual({});
    expect(parseVif('mac=00:16:3E:5f:48:e4, bridge=xenbr0,ip=10.0.0.1,rate=10Mb/s,mtu=9000,vifname=a=b')).toEqual({
      mac: '00:16:3e:5f:48:e4',
      bridge: 'xenbr0',
      ip: '10.0.0.1',
      rate: { bytes: 62_500, intervalUs: 50_000 },
      mtu: 9000,
      vifname: 'a=b',
    });
    expect(parseVif('rate=250KB/s@20ms').rate).toEqual({ bytes: 5000, intervalUs: 20_000 });
  });

  it.each([
    ['mac=00:16:3e', /no MAC address/],
    ['bridge', /unrecognized argument 'bridge'/],
    ['sparkle=1', /unrecognized/],
    ['__proto__=1', /unrecognized/],
    ['rate=fast', /a rate is like/],
    ['rate=1MB/s@0ms', /out of range/],
    ['type=e1000', /vif or ioemu/],
    ['mtu=big', /no number/],
    ['accel=on', /not supported/],
  ])('is refused: %s', (text, message) => {
    expect(() => parseVif(text)).toThrow(message);
  });
});
