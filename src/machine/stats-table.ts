/** The statistics that the hypervisor keeps of each CPU slot; MachineInfo.stats is the address of the first slot's. */
import { struct } from '../abi/layout.ts';
import { ENGINE_COUNTERS_COUNT } from '../engine/counters.ts';

export const CpuStats = struct('CpuStats', [
  /** Guest instructions retired. */
  ['instructions', 'u64'],
  /** In the order of ENGINE_COUNTERS. */
  ['engine', 'u64', ENGINE_COUNTERS_COUNT],
  /** Exits from guest code by reason (EXIT), and of exceptions by vector. */
  ['exits', 'u64', 16],
  ['exceptions', 'u64', 32],
  ['hypercalls', 'u64', 64],
  /** Nanoseconds, if MachineInfo.timing: in guest code, handling exits by reason, in hypercalls by number. */
  ['guest_ns', 'u64'],
  ['exit_ns', 'u64', 16],
  ['hypercall_ns', 'u64', 64],
]);
