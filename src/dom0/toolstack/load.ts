/** From what the user asks for to what the builder takes: reads the files that a domain's spec names. */
import { TSC_MODE } from '../../abi/domctl.ts';
import type { Progress } from './boot-files.ts';
import { loadBootFiles } from './boot-thread.ts';
import { Cache } from './cache.ts';
import type { DomainConfig } from './config.ts';
import type { DomainSpec } from './spec.ts';

/** xl.cfg's names. */
const TSC_MODES = {
  default: TSC_MODE.DEFAULT,
  always_emulate: TSC_MODE.ALWAYS_EMULATE,
  native: TSC_MODE.NEVER_EMULATE,
} as const;

export async function loadSpec(
  spec: DomainSpec,
  progress: Progress = () => {},
  cache = new Cache(),
): Promise<DomainConfig> {
  const boot = await loadBootFiles(spec, cache.dir, progress);
  return {
    name: spec.name,
    uuid: spec.uuid,
    type: spec.type,
    memoryMiB: spec.memory,
    maxMemoryMiB: spec.maxmem,
    vcpus: spec.vcpus,
    maxVcpus: spec.maxvcpus,
    kernel: boot.kernel,
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
