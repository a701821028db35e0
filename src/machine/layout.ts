/** Where things lie in machine memory (docs/architecture.md), and the boot record the parts find each other by. */
import { struct } from '../abi/layout.ts';

/** At MACHINE_INFO; written by Machine.create before any thread enters the hypervisor. */
export const MachineInfo = struct('MachineInfo', [
  ['magic', 'u32'],
  /** Machine frames (4 KiB) in all. */
  ['mem_frames', 'u32'],
  ['pcpus', 'u32'],
  /** CPU slots: pCPUs first, then the threads of TypeScript domains. */
  ['slots', 'u32'],
  /** Machine address of engine area 0, and the size of one in bytes. */
  ['area_base', 'u32'],
  ['area_size', 'u32'],
  /** First byte that the hypervisor manages (page aligned). */
  ['heap_start', 'u32'],
  /** Non-zero: the machine has panicked; every CPU stops. */
  ['panic', 'u32'],
  /** Non-zero: pcpu_main of every CPU returns. */
  ['stop', 'u32'],
  /** Non-zero: guest time is derived from retired instructions. */
  ['deterministic', 'u32'],
  /** Guest TSC frequency in kHz. */
  ['tsc_khz', 'u32'],
  /** Non-zero: statistics say how long exits and hypercalls took (CpuStats). */
  ['timing', 'u32'],
  /** Non-zero: the order in which spinlocks are taken is checked. */
  ['check_locks', 'u32'],
  /** Address of the code owners (src/engine/area.ts). */
  ['code_owners', 'u32'],
  /** The host's monotonic clock at machine boot, in ns. */
  ['boot_ns', 'u64'],
  /** Nanoseconds since 1970 at machine boot. */
  ['wall_boot_ns', 'u64'],
  /** Address of the hypervisor's statistics, CpuStats[slots] (it fills them in at boot). */
  ['stats', 'u32'],
  ['log_ring', 'u32'],
  /** Address of the hypervisor's shared state (it fills it in at boot). */
  ['hypervisor', 'u32'],
  /** Scheduler of CPU pool 0 (XEN_SCHEDULER); 0: the default. */
  ['sched_id', 'u32'],
  /** Most pCPUs of a runqueue of credit2; 0: the default. */
  ['credit2_runqueue_cpus', 'u32'],
]);

export const MACHINE_INFO_ADDRESS = 0x1000;
export const MACHINE_MAGIC = 0x584e4f4c; // "LONX"
/** `--memoryBase` of the two AssemblyScript modules. */
export const HYPERVISOR_DATA = 0x1_0000;
export const RUNTIME_DATA = 0x4_0000;
export const AREA_BASE = 0x10_0000;
/** dom0's memory for hypercall arguments: its guest handles point in here. */
export const DOM0_BUFFER = 0x8_0000;
export const DOM0_BUFFER_SIZE = 0x8_0000;
