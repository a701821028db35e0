/** One string of `disk=[…]` as a disk of a domain. What it says is read by disk-params.ts, as Xen's parser does. */
import type { DiskConfig } from '../devices/disk.ts';
import { type DiskParams, DiskSyntaxError, parseDiskParams } from './disk-params.ts';

const SUPPORT = 'not supported yet; see docs/SUPPORT.md';

/** What the string asks for and is not there. */
function missing(p: DiskParams): string[] {
  return [
    p.script !== undefined && `script ${p.script}`,
    p.specification === 'virtio' && 'specification virtio',
    p.colo !== undefined && 'COLO',
    p.trusted === false && 'untrusted',
    (p.format === 'qcow' || p.format === 'qed') && `format ${p.format}`,
    p.backendtype === 'standalone' && 'backendtype standalone',
  ].filter((what) => what !== false);
}

/** Throws ToolstackError. The target is as it was written. */
export function parseDisk(text: string): DiskConfig {
  const p = parseDiskParams(text);
  const cdrom = p.devtype === 'cdrom';
  if (p.vdev === '') throw new DiskSyntaxError('vdev is missing: the name that the disk has in the guest');
  if (!p.target && !cdrom) throw new DiskSyntaxError('target is missing');
  for (const what of missing(p)) throw new DiskSyntaxError(`${what} is ${SUPPORT}`);
  return {
    vdev: p.vdev,
    target: p.target ?? '',
    format: p.format === 'empty' ? undefined : p.format,
    readOnly: p.access === 'r',
    cdrom,
    backend: p.backend,
    discard: p.discard,
  };
}
