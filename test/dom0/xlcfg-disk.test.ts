/** What the strings of disk= say, with the examples of xl-disk-configuration(5). */
import { describe, expect, it } from 'vitest';
import { parseDiskParams as parseDisk } from '../../src/dom0/toolstack/xlcfg/disk-params.ts';

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
