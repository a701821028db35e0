/** What the guests of the device lines boot: busybox, drivers, the network program, and a shell without an echo. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CpioEntry, cpio, S_IFDIR, S_IFREG } from '../../src/start/cpio.ts';
import { initramfs } from '../../src/start/initramfs.ts';

const SOURCE = fileURLToPath(new URL('net.c', import.meta.url));

/** Port of the network program's server, in guests and on the host. */
export const PORT = 5001;

/** Its lines are commands that are carried out one after the other, each answered by a prompt. */
const INIT = `#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
for name in vda xvda; do [ -e /sys/block/$name ] && disk=$name; done
mkdir /debian
mount -t ext4 -o ro,noload /dev/$disk /debian
mount -t devtmpfs dev /debian/dev
mount -t proc proc /debian/proc
mount -t sysfs sysfs /debian/sys
mount -t tmpfs tmpfs /debian/tmp
ip link set lo up
net serve ${PORT} &
stty -echo
while printf 'bench> '; read -r line; do eval "$line"; done
`;

/** Compiles the network program into `dir`; returns its path. It is linked statically: the host runs it too. */
export function buildNet(dir: string): string {
  const to = join(dir, 'net');
  execFileSync('gcc', ['-O2', '-static', '-Wall', '-Wextra', '-Werror', '-o', to, SOURCE]);
  return to;
}

export function deviceRamdisk(busybox: Uint8Array, net: string, modules: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const file = (name: string, data: Uint8Array): CpioEntry => ({ name, mode: S_IFREG | 0o755, data });
  const inOrder = [...modules.values()].map((data, n) => file(`modules/${String(n).padStart(2, '0')}.ko`, data));
  const entries = [
    file('init', new TextEncoder().encode(INIT)),
    file('bin/net', readFileSync(net)),
    { name: 'modules', mode: S_IFDIR | 0o755 },
    ...inOrder,
  ];
  return Buffer.concat([initramfs(busybox), cpio(entries)]);
}
