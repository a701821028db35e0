/**
 * Records what Debian's generic kernel logs as a PV domain of real Xen, for test/e2e/boot-log.e2e.ts: to be done when there is another kernel.
 *
 * Usage: node test/guests/record-boot-log.ts   (needs what real-xen.ts needs; delete build/real-xen for packages of today)
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpio, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from '../../src/start/cpio.ts';
import { domain, missing, onXen, packages, unpacked } from './real-xen.ts';

const GOLDEN = new URL('../e2e/boot-log.golden.txt', import.meta.url);
/** As the test gives it. */
const COMMAND_LINE = 'console=hvc0 earlyprintk=xen ';
const MEMORY_MIB = 256;
const VCPUS = 2;
const SECONDS = 120;
/** What it prints goes to the domain's console. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "@@@ kernel"
/bin/busybox dmesg
echo "@@@ end of kernel"
/bin/busybox poweroff -f
`;

const why = missing();
if (why) throw new Error(why);
packages();
const ramdisk = cpio([
  ...['bin', 'dev', 'proc'].map((name) => ({ name, mode: S_IFDIR | 0o755 })),
  { name: 'dev/console', mode: S_IFCHR | 0o600, device: [5, 1] },
  { name: 'bin/busybox', mode: S_IFREG | 0o755, data: readFileSync(unpacked(/bin\/busybox$/)) },
  { name: 'bin/sh', mode: S_IFLNK | 0o777, data: new TextEncoder().encode('busybox') },
  { name: 'init', mode: S_IFREG | 0o755, data: new TextEncoder().encode(INIT) },
]);
const guests = new Map([
  ['vmlinuz', readFileSync(unpacked(/boot\/vmlinuz-/))],
  ['ramdisk', ramdisk],
]);
const config = [
  ...['kernel="/guests/vmlinuz"', 'ramdisk="/guests/ramdisk"', `memory=${MEMORY_MIB}`, `vcpus=${VCPUS}`],
  `cmdline="${COMMAND_LINE}"`,
];
const text = await onXen(domain('log', config, SECONDS), guests);
const log = /@@@ kernel\n([\s\S]*?)@@@ end of kernel/.exec(text)?.[1];
if (!log) throw new Error(`the kernel did not come to its end:\n${text.slice(-4000)}`);
const lines = log.split('\n').flatMap((l) => /^\[ *\d+\.\d+\] (.*)$/.exec(l)?.[1] ?? []);
writeFileSync(GOLDEN, `${lines.join('\n')}\n`);
console.log(`${lines.length} lines: ${lines[0]}`);
