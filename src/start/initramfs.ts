/**
 * The initramfs of `npm start`: busybox as init, a shell with job control on the domain's console, `reboot` and `poweroff`
 * that work. Uncompressed, because the guest would spend more time on unpacking than the host spends on copying.
 */
import { appletNames } from './busybox.ts';
import { type CpioEntry, cpio, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from './cpio.ts';

/** Run once, before the shell. Errors are not shown: a kernel may lack any of these. */
const RC = `#!/bin/sh
exec 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t xenfs xenfs /proc/xen
ln -s /proc/self/fd /dev/fd
hostname guest
ip link set lo up
for type in $(cat /sys/bus/xen/devices/*/devtype | sort -u); do
  case $type in
    vbd) modprobe xen-blkfront ;;
    vif) modprobe xen-netfront ;;
  esac
done
`;

/** The console is opened by its own name, not as /dev/console, so that it can be the shell's controlling terminal. */
const INITTAB = `::sysinit:/etc/rc
hvc0::respawn:-/bin/sh
::ctrlaltdel:/bin/reboot
::shutdown:/bin/umount -a -r 2>/dev/null
`;

/** COLUMNS and LINES come from the kernel's command line, where the terminal's size is known. */
const PROFILE = `export HOME=/root PATH=/bin
export PS1='\\h:\\w# '
[ -n "$LINES" ] && stty rows "$LINES" cols "$COLUMNS"
cd
`;

const FOLDERS = ['bin', 'dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'usr', 'var'];

/** Modules of a kernel that need no others, by name. */
export interface Modules {
  /** What `uname -r` prints. */
  readonly release: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** `busybox` is a statically linked binary for x86-64. `modules`: loaded for the devices that are there at boot. */
export function initramfs(busybox: Uint8Array, modules?: Modules): Uint8Array {
  const encoder = new TextEncoder();
  const file = (name: string, text: string, mode: number): CpioEntry => ({
    name,
    mode: S_IFREG | mode,
    data: encoder.encode(text),
  });
  const link = (name: string, target: string): CpioEntry => ({
    name,
    mode: S_IFLNK | 0o777,
    data: encoder.encode(target),
  });
  const device = (name: string, major: number, minor: number): CpioEntry => ({
    name,
    mode: S_IFCHR | 0o600,
    device: [major, minor],
  });
  const applets = appletNames(busybox).filter((name) => name !== 'busybox');
  return cpio([
    ...FOLDERS.map((name): CpioEntry => ({ name, mode: S_IFDIR | (name === 'tmp' ? 0o1777 : 0o755) })),
    device('dev/console', 5, 1), // the kernel opens it before devtmpfs is there
    device('dev/null', 1, 3),
    { name: 'bin/busybox', mode: S_IFREG | 0o755, data: busybox },
    ...applets.map((name) => link(`bin/${name}`, 'busybox')),
    link('sbin', 'bin'),
    link('usr/bin', '../bin'),
    link('usr/sbin', '../bin'),
    link('init', 'bin/init'),
    file('etc/inittab', INITTAB, 0o644),
    file('etc/profile', PROFILE, 0o644),
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n', 0o644),
    file('etc/group', 'root:x:0:\n', 0o644),
    file('etc/rc', RC, 0o755),
    ...(modules ? moduleFolder(modules) : []),
  ]);
}

/** As busybox's modprobe looks for them. */
function moduleFolder({ release, files }: Modules): CpioEntry[] {
  const dir = `lib/modules/${release}`;
  const folders = dir.split('/').map(
    (_, n, parts): CpioEntry => ({
      name: parts.slice(0, n + 1).join('/'),
      mode: S_IFDIR | 0o755,
    }),
  );
  const dependencies = [...files.keys()].map((name) => `${name}.ko:\n`).join('');
  return [
    ...folders,
    { name: `${dir}/modules.dep`, mode: S_IFREG | 0o644, data: new TextEncoder().encode(dependencies) },
    ...[...files].map(([name, data]): CpioEntry => ({ name: `${dir}/${name}.ko`, mode: S_IFREG | 0o644, data })),
  ];
}
