/** The SDK and xl from a packed tarball, installed elsewhere: compiled JavaScript, no sources, no checkout around it. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from './command.ts';

let dir: string;
const sh = (command: string, args: readonly string[], cwd: string) =>
  execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, XENOLITH_SOCKET: join(dir, 'host.sock') },
  });

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sdk-'));
  sh('node', ['scripts/run.mjs', 'scripts/images.ts'], ROOT);
  cpSync(join(ROOT, 'build/images'), dir, { recursive: true });
  sh('npm', ['pack', '--silent', '--pack-destination', dir], ROOT);
  writeFileSync(join(dir, 'package.json'), '{ "name": "user", "private": true, "type": "module" }');
  const tarball = readdirSync(dir).find((f) => f.endsWith('.tgz'))!;
  sh('npm', ['install', '--no-audit', '--no-fund', '--silent', `./${tarball}`], dir);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('boots a kernel from JavaScript', () => {
  writeFileSync(
    join(dir, 'boot.js'),
    `import { Host } from 'xenolith';
     const host = await Host.start({ memoryMiB: 1024, pcpus: 1 });
     const guest = await host.create({
       name: 'guest', kernel: '${dir}/vmlinuz', ramdisk: '${dir}/initramfs', memory: 256, cmdline: 'console=hvc0',
     });
     const console_ = await guest.console();
     await console_.expect(/guest:\\S*# /, { timeoutMs: 300_000 });
     console.log(await console_.shell('cat /sys/hypervisor/type'));
     const ended = guest.ended();
     await console_.write('poweroff -f\\n');
     console.log(await ended);
     await host.stop();
    `,
  );
  const out = sh(process.execPath, ['boot.js'], dir);
  expect(out).toMatch(/^xen\n[\s\S]*poweroff\n$/);
});

it('has xl', () => {
  try {
    expect(sh('npx', ['xl', 'list'], dir)).toContain('Domain-0');
    expect(sh('npx', ['xl', 'info', 'xen_version'], dir)).toMatch(/^4\.17/);
  } finally {
    sh('npx', ['xl', 'host', 'stop'], dir);
  }
});
