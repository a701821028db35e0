/** What a domain is to be: the typed form of an xl.cfg file (xl.cfg.5), as far as PV and PVH domains go. */
import { MAX_GUEST_CMDLINE } from '../../abi/xen.ts';
import { type ChannelConfig, MAX_CHANNELS } from '../xenconsoled/channels.ts';
import type { DeviceConfig } from './devices/devices.ts';
import { ToolstackError } from './error.ts';
import type { KernelBytes } from './kernel/kernel.ts';

/** What happens when a domain ends (xl.cfg: on_poweroff, on_reboot, on_crash, …). */
export const LIFECYCLE_ACTIONS = [
  'destroy',
  'restart',
  'rename-restart',
  'preserve',
  'coredump-destroy',
  'coredump-restart',
] as const;
export type LifecycleAction = (typeof LIFECYCLE_ACTIONS)[number];

/** xl.cfg's `type`. */
export const GUEST_TYPES = ['pv', 'pvh'] as const;
export type GuestType = (typeof GUEST_TYPES)[number];

export interface Placement {
  /** Lists of CPUs (cpu-list.ts): one for all vCPUs, or one each. */
  readonly cpus?: string | readonly string[];
  readonly cpusSoft?: string | readonly string[];
  readonly weight?: number;
  readonly cap?: number;
  /** Name or number of the CPU pool. */
  readonly pool?: string;
}

/** What the hypervisor keeps for the domain at most; libxl's defaults. */
export interface Limits {
  readonly grantFrames?: number;
  readonly maptrackFrames?: number;
  /** 1 or 2; default: the highest there is. */
  readonly grantVersion?: number;
  /** Number of event channels. */
  readonly eventChannels?: number;
}

/** What is put into the memory of a new domain. */
export interface BootImages {
  /** The kernel's ELF file (unpackKernel makes it of any image). */
  readonly kernel: KernelBytes | Uint8Array;
  readonly ramdisk?: Uint8Array;
}

/** All else that a domain is made from. */
export interface DomainSettings extends DeviceConfig {
  readonly name: string;
  /** Default: random. */
  readonly uuid?: string;
  /** Default: pv. */
  readonly type?: GuestType;
  /** MiB that the domain starts with, and the most that it may have (default: the same). */
  readonly memoryMiB: number;
  readonly maxMemoryMiB?: number;
  /** vCPUs that are online at the start, and the most there may be (default: the same). */
  readonly vcpus: number;
  readonly maxVcpus?: number;
  /** How to call the kernel in messages and in XenStore. */
  readonly kernelName: string;
  readonly ramdiskName?: string;
  readonly cmdline: string;
  /** Where and how much its vCPUs run; default: anywhere, as the scheduler's defaults say. */
  readonly placement?: Placement;
  readonly limits?: Limits;
  /** TSC_MODE. */
  readonly tscMode?: number;
  /** Seconds that its wall clock is ahead of UTC. */
  readonly timeOffset?: number;
  /** Consoles besides the first. */
  readonly channels?: readonly ChannelConfig[];
  readonly onPoweroff?: LifecycleAction;
  readonly onReboot?: LifecycleAction;
  readonly onCrash?: LifecycleAction;
  readonly onWatchdog?: LifecycleAction;
  readonly onSoftReset?: LifecycleAction;
}

export type DomainConfig = DomainSettings & BootImages;

/** Most vCPUs of a domain. */
export const MAX_VCPUS = 128;
/** Of a PVH domain. */
export const MAX_PVH_VCPUS = 1;

/** What is wrong with so many vCPUs for a domain of that type; undefined: nothing. */
export function vcpusRefused(type: GuestType | undefined, vcpus: number): string | undefined {
  return type === 'pvh' && vcpus > MAX_PVH_VCPUS
    ? 'PVH guests have one vCPU so far; type = "pv" can have more'
    : undefined;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function whole(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new ToolstackError(`${what} = ${value}: it must be a whole number from ${min} to ${max}`);
  }
}

/** Throws ToolstackError for values that no domain can have. */
export function checkConfig(c: DomainConfig): void {
  if (!/^[^/\0\s]([^/\0\n]{0,254})$/.test(c.name)) {
    throw new ToolstackError(`name = "${c.name}": a name has 1 to 255 characters, without "/" or line breaks`);
  }
  if (c.uuid !== undefined && !UUID.test(c.uuid)) throw new ToolstackError(`uuid = "${c.uuid}" is no UUID`);
  whole('memory', c.memoryMiB, 1, 1 << 20);
  whole('maxmem', c.maxMemoryMiB ?? c.memoryMiB, c.memoryMiB, 1 << 20);
  whole('maxvcpus', c.maxVcpus ?? c.vcpus, 1, MAX_VCPUS);
  whole('vcpus', c.vcpus, 1, c.maxVcpus ?? c.vcpus);
  const refused = vcpusRefused(c.type, c.maxVcpus ?? c.vcpus);
  if (refused) throw new ToolstackError(`${c.maxVcpus === undefined ? 'vcpus' : 'maxvcpus'}: ${refused}`);
  checkChannels(c.channels ?? []);
  const length = new TextEncoder().encode(c.cmdline).length;
  if (length >= MAX_GUEST_CMDLINE || c.cmdline.includes('\0')) {
    throw new ToolstackError(
      `the kernel’s command line has ${length} bytes; at most ${MAX_GUEST_CMDLINE - 1} are possible, none of them 0`,
    );
  }
}

function checkChannels(channels: readonly ChannelConfig[]): void {
  if (channels.length > MAX_CHANNELS) throw new ToolstackError(`channel: a domain has at most ${MAX_CHANNELS}`);
  const names = channels.map((c) => c.name);
  const bad = names.find((name, i) => !/^[A-Za-z0-9._-]{1,64}$/.test(name) || names.indexOf(name) !== i);
  if (bad !== undefined) {
    throw new ToolstackError(
      `channel name = "${bad}": each needs its own name of up to 64 letters, digits, ".", "_", "-"`,
    );
  }
  const relative = channels.find((c) => c.path !== undefined && !/^\/[^\0]*$/.test(c.path));
  if (relative) throw new ToolstackError(`channel path = "${relative.path}": it must begin with "/"`);
}

export function uuidBytes(uuid: string): Uint8Array {
  return Uint8Array.from(uuid.replaceAll('-', '').match(/../g)!, (h) => Number.parseInt(h, 16));
}
