/** vcpu_op (public/vcpu.h). */
import { struct } from './layout.ts';

export const VCPUOP = {
  initialise: 0,
  up: 1,
  down: 2,
  is_up: 3,
  get_runstate_info: 4,
  register_runstate_memory_area: 5,
  set_periodic_timer: 6,
  stop_periodic_timer: 7,
  set_singleshot_timer: 8,
  stop_singleshot_timer: 9,
  register_vcpu_info: 10,
  send_nmi: 11,
  get_physid: 12,
  register_vcpu_time_memory_area: 13,
} as const;

export const RUNSTATE = { running: 0, runnable: 1, blocked: 2, offline: 3 } as const;
/** Set in state_entry_time while the area is being written (with VMASST_TYPE.runstate_update_flag). */
export const RUNSTATE_UPDATE = 1n << 63n;

/** Times in ns of system time; time[] indexed by RUNSTATE. */
export const VcpuRunstateInfo = struct('vcpu_runstate_info', [
  ['state', 'i32'],
  ['state_entry_time', 'u64'],
  ['time', 'u64', 4],
]);

export const VcpuRegisterRunstateMemoryArea = struct('vcpu_register_runstate_memory_area', [['addr', 'u64']]);
export const VcpuSetPeriodicTimer = struct('vcpu_set_periodic_timer', [['period_ns', 'u64']]);
export const VcpuSetSingleshotTimer = struct('vcpu_set_singleshot_timer', [
  ['timeout_abs_ns', 'u64'],
  ['flags', 'u32'],
]);
/** A time-out in the past is an error (ETIME). */
export const VCPU_SSHOTTMR_future = 1;

export const VcpuRegisterVcpuInfo = struct('vcpu_register_vcpu_info', [
  ['mfn', 'u64'],
  ['offset', 'u32'],
  ['rsvd', 'u32'],
]);
/** Low half APIC id, high half ACPI id. */
export const VcpuGetPhysid = struct('vcpu_get_physid', [['phys_id', 'u64']]);
export const VcpuRegisterTimeMemoryArea = struct('vcpu_register_time_memory_area', [['addr', 'u64']]);
