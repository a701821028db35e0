/** The JSON of `xl list -l`, beside what libxl's own generator makes of the same configuration. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseSpec } from '../../src/dom0/toolstack/spec.ts';
import { libxlConfig } from '../../src/xl/format/libxl-json.ts';
import { ROOT } from './command.ts';

/** programs/libxl-json.c fills in the same. */
const spec = parseSpec({
  name: 'lpv',
  uuid: '01020304-0506-0708-090a-0b0c0d0e0f10',
  pool: 'Pool-0',
  memory: 195,
  maxmem: 256,
  vcpus: 1,
  maxvcpus: 2,
  cpus: ['0', '0-3'],
  cpu_weight: 512,
  cap: 50,
  tsc_mode: 'native',
  rtc_timeoffset: -3600,
  localtime: true,
  nomigrate: false,
  max_grant_frames: 64,
  max_maptrack_frames: 1024,
  max_grant_version: 2,
  max_event_channels: 1023,
  kernel: '/boot/vmlinuz',
  ramdisk: '/boot/initrd.img',
  cmdline: 'console=hvc0',
  bootloader: 'pygrub',
  bootloader_args: ['--entry=1', '-q'],
  disk: [
    { vdev: 'xvda', target: '/var/disk.qcow2', format: 'qcow2', backend: 'storage', discard: true },
    { vdev: 'hdc', target: '', cdrom: true },
  ],
  vif: [
    {
      mac: '00:01:02:03:04:05',
      backend: 'network',
      mtu: 1400,
      model: 'rtl8139',
      bridge: 'xenbr0',
      vifname: 'v0',
      script: 'vif-bridge',
      rate: { bytesPerInterval: 62500, intervalUs: 50000 },
    },
  ],
  on_poweroff: 'preserve',
  on_reboot: 'rename-restart',
  on_watchdog: 'coredump-destroy',
  on_crash: 'coredump-restart',
  on_soft_reset: 'destroy',
});

it('is the same, name for name and value for value', () => {
  const dir = mkdtempSync(join(tmpdir(), 'libxl-'));
  try {
    const program = join(dir, 'libxl-json');
    const source = join(ROOT, 'test/e2e/programs/libxl-json.c');
    execFileSync('gcc', ['-o', program, source, '-lxenlight', '-l:libyajl.so.2']);
    const theirs = JSON.parse(execFileSync(program, { encoding: 'utf8' }));
    const channels = [
      { devid: 1, name: 'agent' },
      { devid: 2, name: 'log', path: '/run/log.sock' },
    ];
    const ours = libxlConfig(spec, { domid: 3, cpus: 4, targetKiB: 200000, maxMemoryKiB: 262144, channels });
    expect(ours).toEqual(theirs);
    expect(JSON.stringify(ours)).toBe(JSON.stringify(theirs)); // and in the same order
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
