/** The domain builders, one for each type of guest, and what they have in common. */

import type { MemoryRange } from '../../kernel/hypercalls/memory.ts';
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import type { GuestType } from '../config.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { pvBuilder } from './pv-builder.ts';
import { pvhBuilder } from './pvh-builder.ts';

/** What can be looked at before there is a domain. */
export interface DomainPlan {
  readonly kernel: Kernel;
  /** For messages. */
  readonly kernelName: string;
  readonly ramdisk?: Uint8Array;
  readonly cmdline: string;
  readonly memoryMiB: number;
  /** Default: memoryMiB. */
  readonly maxMemoryMiB?: number;
  readonly vcpus: number;
  /** Default: vcpus. */
  readonly maxVcpus?: number;
}

export interface DomainBuild extends DomainPlan {
  /** Event channels of the domain that the two daemons may bind. */
  readonly storePort: number;
  readonly consolePort: number;
  /** Domains that serve them. */
  readonly storeDomid: number;
  readonly consoleDomid: number;
}

/** Frames of the two rings, as the guest and `foreignMap` name them: mfns of a PV guest, gfns of a PVH guest. */
export interface BuiltDomain {
  readonly storeGfn: number;
  readonly consoleGfn: number;
}

export interface Builder {
  /** createdomain's flags (CDF) and emulation_flags (X86_EMU). */
  readonly flags: number;
  readonly emulationFlags: number;
  /** MiB that the domain takes of the machine when it is built. */
  startMiB(plan: DomainPlan): number;
  /** Checks all that can be checked before there is a domain. Throws ToolstackError or KernelError. */
  check(plan: DomainPlan): void;
  /** What the domain is told of its memory (XENMEM_memory_map). */
  memoryMap(plan: DomainPlan): readonly MemoryRange[];
  /**
   * In steps of some milliseconds, so that who has others to serve can do so in between. The domain exists, is paused, and
   * has its vCPUs and memory limit. On failure it is left half-built, for the caller to destroy.
   */
  build(xen: Hypercalls, domid: number, b: DomainBuild): Generator<void, BuiltDomain>;
}

export const BUILDERS: Readonly<Record<GuestType, Builder>> = { pv: pvBuilder, pvh: pvhBuilder };
