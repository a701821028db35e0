/** platform_op (public/platform.h), the parts that do not touch ACPI tables of a real PC. */
import { struct } from './layout.ts';

export const XENPF_INTERFACE_VERSION = 0x0300_0001;

export const XENPF = {
  settime32: 17,
  add_memtype: 31,
  del_memtype: 32,
  read_memtype: 33,
  microcode_update: 35,
  platform_quirk: 39,
  get_cpu_version: 48,
  efi_runtime_call: 49,
  firmware_info: 50,
  enter_acpi_sleep: 51,
  change_freq: 52,
  getidletime: 53,
  set_processor_pminfo: 54,
  get_cpuinfo: 55,
  cpu_online: 56,
  cpu_offline: 57,
  cpu_hotadd: 58,
  mem_hotadd: 59,
  core_parking: 60,
  resource_op: 61,
  settime64: 62,
  get_symbol: 63,
} as const;

/** u is the operation's own structure, at most 128 bytes. */
export const PlatformOp = struct('xen_platform_op', [
  ['cmd', 'u32'],
  ['interface_version', 'u32'],
  ['u', 'u64', 16],
]);

export const PlatformSettime32 = struct('xenpf_settime32', [
  ['secs', 'u32'],
  ['nsecs', 'u32'],
  ['system_time', 'u64'],
]);
export const PlatformSettime64 = struct('xenpf_settime64', [
  ['secs', 'u64'],
  ['nsecs', 'u32'],
  ['mbz', 'u32'],
  ['system_time', 'u64'],
]);
export const PlatformEnterAcpiSleep = struct('xenpf_enter_acpi_sleep', [
  ['val_a', 'u16'],
  ['val_b', 'u16'],
  ['sleep_state', 'u32'],
  ['flags', 'u32'],
]);
export const PlatformGetidletime = struct('xenpf_getidletime', [
  ['cpumap_bitmap', 'u64'],
  ['cpumap_nr_cpus', 'u32'],
  ['idletime', 'u64'],
  ['now', 'u64'],
]);
export const PlatformPcpuinfo = struct('xenpf_pcpuinfo', [
  ['xen_cpuid', 'u32'],
  ['max_present', 'u32'],
  ['flags', 'u32'],
  ['apic_id', 'u32'],
  ['acpi_id', 'u32'],
]);
export const XEN_PCPU_FLAGS = { ONLINE: 1, INVALID: 2 } as const;
export const PlatformPcpuVersion = struct('xenpf_pcpu_version', [
  ['xen_cpuid', 'u32'],
  ['max_present', 'u32'],
  ['vendor_id', 'u8', 12],
  ['family', 'u32'],
  ['model', 'u32'],
  ['stepping', 'u32'],
]);
export const PlatformCpuOl = struct('xenpf_cpu_ol', [['cpuid', 'u32']]);
