/** What the sampling profiler (src/hypervisor/profile.ts) leaves in machine memory: a ring of samples for each pCPU. */
import { struct } from '../abi/layout.ts';

/** At the start of a ring's memory; the samples follow at PROFILE_SAMPLES. Indices are free running. */
export const ProfileRing = struct('ProfileRing', [
  /** Nanoseconds that are to be accounted to what runs now (atomic): the next sample takes them. */
  ['due', 'u32'],
  /** Written by the pCPU: samples made. Those from `taken` on, at most PROFILE_RING of them, are there to be read. */
  ['made', 'u32'],
  /** Written by the reader. */
  ['taken', 'u32'],
  /** Nanoseconds of samples for which there was no room. */
  ['lost_ns', 'u64'],
]);

export const ProfileSample = struct('ProfileSample', [
  /** The guest's instruction pointer. */
  ['rip', 'u64'],
  /** Of a hypercall: where the hypercall page was called from, if it was; else 0. */
  ['caller', 'u64'],
  /** Machine address of the guest's L4 table. */
  ['root', 'u32'],
  ['ns', 'u32'],
  ['domid', 'u16'],
  ['vcpu', 'u16'],
  /** PROFILE_KIND, and of HYPERCALL and EXIT which. */
  ['kind', 'u16'],
  ['what', 'u16'],
]);

/** Where the time was spent. */
export const PROFILE_KIND = {
  USER: 0,
  KERNEL: 1,
  /** In the hypervisor: for a hypercall (number), another exit (EXIT). */
  HYPERCALL: 2,
  EXIT: 3,
  IDLE: 4,
} as const;

export const PROFILE_SAMPLES = 64;
/** Samples of a ring (a power of two). */
export const PROFILE_RING = 2048;
