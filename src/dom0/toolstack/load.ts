/** Reads the files that a domain's spec names: from what the user asks for to what the builder takes. */
import { readFile } from 'node:fs/promises';
import { TSC_MODE } from '../../abi/domctl.ts';
import { bootChoice, bootFromDisk } from './boot.ts';
import type { Booted } from './bootloader/pygrub.ts';
import { Cache } from './cache.ts';
import type { DomainConfig } from './config.ts';
import { ToolstackError } from './error.ts';
import { isElf } from './kernel/elf.ts';
import { KernelError, unpackKernel } from './kernel/kernel.ts';
import { kernelElfAside } from './kernel-thread.ts';
import type { DomainSpec } from './spec.ts';

/** xl.cfg's names. */
const TSC_MODES = {
  default: TSC_MODE.DEFAULT,
  always_emulate: TSC_MODE.ALWAYS_EMULATE,
  native: TSC_MODE.NEVER_EMULATE,
} as const;

/** Told what long work is doing. */
export type Progress = (message: string) => void;

/** A file that cannot be read. */
export class FileError extends ToolstackError {}

/** `what`: what the file is to the user, as `kernel`. */
export async function readImage(what: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder'
          : code === 'EACCES'
            ? 'it may not be read'
            : (error as Error).message;
    throw new FileError(`no ${what} at ${path}: ${why}`);
  }
}

/** The kernel's ELF file; what had to be decompressed is kept in the cache. Throws KernelError that names `name`. */
export function kernelElf(image: Uint8Array, name: string, cache: Cache, progress: Progress): Uint8Array {
  try {
    if (isElf(image)) return image;
    return cache.derived('elf', image, () => {
      progress(`decompressing ${name}`);
      return unpackKernel(image);
    });
  } catch (error) {
    if (error instanceof KernelError) throw new KernelError(`${name} ${error.message}`);
    throw error;
  }
}

type BootFiles = Omit<Booted, 'partition' | 'title'>;

async function bootFiles(spec: DomainSpec, progress: Progress): Promise<BootFiles> {
  if (spec.bootloader !== undefined) {
    // As libxl does: what the configuration names is meant to be in the guest.
    const named = { kernel: spec.kernel, ramdisk: spec.ramdisk, args: spec.cmdline || undefined };
    const given = bootChoice(spec.bootloader_args ?? []);
    const choice = {
      ...named,
      ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    };
    progress('running pygrub');
    const booted = bootFromDisk(spec.disk ?? [], choice);
    progress(`booting ${booted.title}`);
    return booted;
  }
  const kernelName = spec.kernel!;
  progress(`reading ${kernelName}`);
  const [kernel, ramdisk] = await Promise.all([
    readImage('kernel', kernelName),
    spec.ramdisk === undefined ? undefined : readImage('ramdisk', spec.ramdisk),
  ]);
  return { kernel, kernelName, ramdisk, ramdiskName: spec.ramdisk, args: spec.cmdline };
}

export async function loadSpec(
  spec: DomainSpec,
  progress: Progress = () => {},
  cache = new Cache(),
): Promise<DomainConfig> {
  const boot = await bootFiles(spec, progress);
  return {
    name: spec.name,
    uuid: spec.uuid,
    memoryMiB: spec.memory,
    maxMemoryMiB: spec.maxmem,
    vcpus: spec.vcpus,
    maxVcpus: spec.maxvcpus,
    kernel: await kernelElfAside(boot.kernel, boot.kernelName, cache, progress),
    kernelName: boot.kernelName,
    ramdisk: boot.ramdisk,
    ramdiskName: boot.ramdiskName,
    cmdline: boot.args,
    placement: {
      cpus: spec.cpus,
      cpusSoft: spec.cpus_soft,
      weight: spec.cpu_weight,
      cap: spec.cap,
      pool: spec.pool,
    },
    limits: {
      grantFrames: spec.max_grant_frames,
      maptrackFrames: spec.max_maptrack_frames,
      grantVersion: spec.max_grant_version,
      eventChannels: spec.max_event_channels,
    },
    tscMode: spec.tsc_mode && TSC_MODES[spec.tsc_mode],
    timeOffset: (spec.rtc_timeoffset ?? 0) + (spec.localtime ? -60 * new Date().getTimezoneOffset() : 0),
    disks: spec.disk,
    nics: spec.vif,
    channels: spec.channel,
    onPoweroff: spec.on_poweroff,
    onReboot: spec.on_reboot,
    onCrash: spec.on_crash,
    onWatchdog: spec.on_watchdog,
    onSoftReset: spec.on_soft_reset,
  };
}
