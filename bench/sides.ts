/** The two sides of the comparison: how each boots the same kernel with the same initramfs on one processor. */
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

export interface Files {
  readonly kernel: string;
  readonly ramdisk: string;
}

export interface Side {
  readonly key: 'qemu' | 'xenolith';
  readonly name: string;
  command(files: Files): readonly string[];
}

const MEMORY_MIB = '512';

export const QEMU: Side = {
  key: 'qemu',
  name: 'QEMU TCG',
  command: ({ kernel, ramdisk }) => [
    ...['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'max', '-m', MEMORY_MIB, '-smp', '1'],
    ...['-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot', '-net', 'none'],
    ...['-kernel', kernel, '-initrd', ramdisk, '-append', 'console=ttyS0'],
  ],
};

/** `options`: more of those of `npm start`. */
export const xenolith = (options: readonly string[]): Side => ({
  key: 'xenolith',
  name: 'Xenolith',
  command: ({ kernel, ramdisk }) => [
    ...[process.execPath, 'scripts/run.mjs', 'scripts/start.ts', '--memory', MEMORY_MIB],
    ...['--kernel', kernel, '--ramdisk', ramdisk, '--append', 'console=hvc0', ...options],
  ],
});
