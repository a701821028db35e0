/**
 * A domain's configuration as libxl's JSON has it (libxl_domain_config of libxl_types.idl): what `xl list -l` and
 * `xl create -n` print. As libxl's generator does: what has its default is left out, booleans with a default are "True" and
 * "False", bitmaps are lists of their members, and a union's key tells its type.
 */
import { cpusOf, parseCpuList } from '../../dom0/toolstack/cpu-list.ts';
import type { DomainSpec } from '../../dom0/toolstack/spec.ts';

type Json = Record<string, unknown>;

/** What only a host can know. */
export interface Actual {
  readonly domid: number;
  /** pCPUs of the machine. */
  readonly cpus: number;
  /** As the balloon's target and the hypervisor's limit have it, to the KiB. */
  readonly targetKiB: number;
  readonly maxMemoryKiB: number;
  /** The channels, by their device ids. */
  readonly channels: readonly { readonly devid: number; readonly name: string; readonly path?: string }[];
}

const omitUndefined = (o: Json): Json =>
  Object.fromEntries(Object.entries(o).filter(([, value]) => value !== undefined));
const defbool = (value: boolean | undefined) => (value === undefined ? undefined : value ? 'True' : 'False');
const flag = (value: boolean | undefined) => (value ? 1 : undefined);
const some = <T>(list: readonly T[] | undefined) => (list?.length ? list : undefined);

/** As libxl: a bitmap is the list of its members. */
const firstVcpus = (count: number) => Array.from({ length: count }, (_, v) => v);

/** Lists of CPUs, one for each vCPU. Which CPUs `all` and `nodes:` are depends on the machine: without one they are left out. */
function affinity(lists: DomainSpec['cpus'], vcpus: number, cpus: number | undefined): number[][] | undefined {
  if (lists === undefined) return undefined;
  const each = typeof lists === 'string' ? firstVcpus(vcpus).map(() => lists) : lists;
  if (cpus === undefined && each.some((list) => /[a-z]/.test(list))) return undefined;
  const all = cpus ?? 1 + Math.max(...each.flatMap((list) => (list.match(/\d+/g) ?? []).map(Number)));
  return each.map((list) => cpusOf(parseCpuList(list, all)));
}

/** libxl has names for what an end of the domain leads to. `fallback`: the one that is left out. */
const action = (name: string | undefined, fallback = 'destroy') =>
  name === undefined || name === fallback
    ? undefined
    : name === 'rename-restart'
      ? 'restart_rename'
      : name.replace('-', '_');

function disk(d: NonNullable<DomainSpec['disk']>[number]): Json {
  const empty = d.target === '';
  return omitUndefined({
    backend_domname: d.backend,
    pdev_path: empty ? undefined : d.target,
    vdev: d.vdev,
    backend: 'qdisk',
    format: empty ? 'empty' : (d.format ?? 'raw'),
    removable: flag(d.cdrom),
    readwrite: flag(!d.readOnly && !d.cdrom),
    is_cdrom: flag(d.cdrom),
    discard_enable: defbool(d.discard),
  });
}

function nic(n: NonNullable<DomainSpec['vif']>[number], index: number): Json {
  return omitUndefined({
    backend_domname: n.backend,
    devid: n.devid ?? index,
    mtu: n.mtu,
    model: n.model,
    mac: n.mac,
    bridge: n.bridge,
    ifname: n.vifname,
    script: n.script,
    nictype: 'vif',
    rate_bytes_per_interval: n.rate?.bytesPerInterval,
    rate_interval_usecs: n.rate?.intervalUs,
  });
}

function buildInfo(spec: DomainSpec, actual: Actual | undefined): Json {
  const vcpus = spec.maxvcpus ?? spec.vcpus;
  return omitUndefined({
    max_vcpus: vcpus,
    avail_vcpus: firstVcpus(spec.vcpus),
    vcpu_hard_affinity: affinity(spec.cpus, vcpus, actual?.cpus),
    vcpu_soft_affinity: affinity(spec.cpus_soft, vcpus, actual?.cpus),
    numa_placement: spec.cpus === undefined ? undefined : 'False',
    tsc_mode: spec.tsc_mode,
    max_memkb: actual?.maxMemoryKiB ?? (spec.maxmem ?? spec.memory) * 1024,
    target_memkb: actual?.targetKiB ?? spec.memory * 1024,
    rtc_timeoffset: spec.rtc_timeoffset ? spec.rtc_timeoffset >>> 0 : undefined, // libxl's is a uint32
    localtime: defbool(spec.localtime),
    disable_migrate: defbool(spec.nomigrate),
    max_grant_frames: spec.max_grant_frames,
    max_maptrack_frames: spec.max_maptrack_frames,
    max_grant_version: spec.max_grant_version,
    sched_params: omitUndefined({ weight: spec.cpu_weight, cap: spec.cap }),
    event_channels: spec.max_event_channels,
    kernel: spec.kernel,
    cmdline: spec.cmdline || undefined,
    ramdisk: spec.ramdisk,
    bootloader: spec.bootloader,
    bootloader_args: some(spec.bootloader_args),
    [`type.${spec.type}`]: {},
    arch_arm: {},
    arch_x86: {},
  });
}

const channel = ({ devid, name, path }: Actual['channels'][number]): Json =>
  path === undefined ? { devid, name, 'connection.pty': {} } : { devid, name, 'connection.socket': { path } };

/** `actual`: what a running domain has beside its spec. */
export function libxlConfig(spec: DomainSpec, actual?: Actual): Json {
  const channels = actual?.channels ?? spec.channel?.map((c, i) => ({ ...c, devid: i + 1 }));
  return omitUndefined({
    c_info: omitUndefined({
      type: spec.type,
      name: spec.name,
      domid: actual?.domid,
      uuid: spec.uuid,
      pool_name: spec.pool,
    }),
    b_info: buildInfo(spec, actual),
    disks: some(spec.disk?.map(disk)),
    nics: some(spec.vif?.map(nic)),
    channels: some(channels?.map(channel)),
    on_poweroff: action(spec.on_poweroff),
    on_reboot: action(spec.on_reboot ?? 'restart'),
    on_watchdog: action(spec.on_watchdog),
    on_crash: action(spec.on_crash),
    on_soft_reset: action(spec.on_soft_reset),
  });
}
