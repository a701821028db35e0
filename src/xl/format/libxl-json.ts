/** A domain's configuration as libxl's JSON has it (libxl_domain_config): what `xl list -l` and `xl create -n` print. */
import type { DomainSpec } from '../../dom0/toolstack/spec.ts';

const omitUndefined = (o: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(o).filter(([, value]) => value !== undefined));

/** As libxl: a bitmap is the list of its members. */
const firstVcpus = (count: number) => Array.from({ length: count }, (_, v) => v);

export function libxlConfig(spec: DomainSpec): Record<string, unknown> {
  return omitUndefined({
    c_info: omitUndefined({ type: spec.type, name: spec.name, uuid: spec.uuid, pool_name: spec.pool }),
    b_info: omitUndefined({
      max_vcpus: spec.maxvcpus ?? spec.vcpus,
      avail_vcpus: firstVcpus(spec.vcpus),
      max_memkb: (spec.maxmem ?? spec.memory) * 1024,
      target_memkb: spec.memory * 1024,
      tsc_mode: spec.tsc_mode,
      localtime: spec.localtime,
      rtc_timeoffset: spec.rtc_timeoffset,
      disable_migrate: spec.nomigrate,
      sched_params: omitUndefined({ weight: spec.cpu_weight, cap: spec.cap }),
      max_grant_frames: spec.max_grant_frames,
      max_maptrack_frames: spec.max_maptrack_frames,
      max_grant_version: spec.max_grant_version,
      event_channels: spec.max_event_channels,
      cpus: spec.cpus,
      cpus_soft: spec.cpus_soft,
      kernel: spec.kernel,
      ramdisk: spec.ramdisk,
      cmdline: spec.cmdline,
      type: spec.type,
    }),
    on_poweroff: spec.on_poweroff ?? 'destroy',
    on_reboot: spec.on_reboot ?? 'restart',
    on_watchdog: spec.on_watchdog ?? 'destroy',
    on_crash: spec.on_crash ?? 'destroy',
    on_soft_reset: spec.on_soft_reset,
  });
}
