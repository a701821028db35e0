/** Loop devices: block devices of the host, where the tests' user can make some (root, and a kernel that has them). */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The device on the file; undefined: there can be none. */
export function loopDevice(path: string, ...options: string[]): string | undefined {
  const r = spawnSync('losetup', ['--find', '--show', ...options, path], { encoding: 'utf8' });
  return r.status === 0 ? r.stdout.trim() : undefined;
}

export const detachLoop = (device: string) => execFileSync('losetup', ['--detach', device]);

export const canLoop: boolean = (() => {
  const dir = mkdtempSync(join(tmpdir(), 'loop-'));
  const probe = join(dir, 'probe');
  writeFileSync(probe, new Uint8Array(4096));
  const device = loopDevice(probe);
  if (device) detachLoop(device);
  rmSync(dir, { recursive: true });
  return device !== undefined;
})();
