/**
 * What a user asks for: the typed form of an xl.cfg file, with that manual's names and units. Every face makes one of these
 * (from a file, from JSON, from an object), `parseSpec` checks it, and `load.ts` reads the files that it names.
 */
import { z } from 'zod';
import { GUEST_TYPES, LIFECYCLE_ACTIONS, MAX_VCPUS, vcpusRefused } from './config.ts';
import { ToolstackError } from './error.ts';

const Action = z.enum(LIFECYCLE_ACTIONS);

/** A list of CPUs as xl writes it: `all`, `0-3,5,^1`, `nodes:0`. Checked against the machine when it is used. */
const CpuList = z.string().regex(/^(all|\^?(nodes?:)?\d+(-\d+)?)(,\^?(nodes?:)?(all|\d+(-\d+)?))*$/, 'no list of CPUs');

/** As DiskConfig (devices/disk.ts): what a string of `disk=` says. */
export const DiskSpec = z.strictObject({
  vdev: z.string().min(1).describe('xvda, hdc, …'),
  target: z.string().describe('absolute path of a file or block device; empty: a CD drive without a disk'),
  format: z.enum(['raw', 'qcow2', 'vhd']).optional().describe('default: raw'),
  readOnly: z.boolean().optional(),
  cdrom: z.boolean().optional(),
  backend: z.string().optional().describe('name of the driver domain; default: one of its own'),
  discard: z.boolean().optional(),
  sectorSize: z.literal([512, 4096]).optional(),
});

/** As NicConfig (devices/nic.ts): what a string of `vif=` says. */
export const NicSpec = z.strictObject({
  mac: z.string().optional().describe('default: a random one of Xen’s'),
  bridge: z.string().optional().describe('default: xenbr0'),
  script: z.string().optional().describe('vif-bridge (default) or vif-nat'),
  model: z.string().optional(),
  vifname: z.string().optional(),
  mtu: z.int().optional(),
  rate: z.strictObject({ bytesPerInterval: z.number(), intervalUs: z.number() }).optional(),
  backend: z.string().optional(),
  devid: z.int().optional(),
  forwards: z.array(z.string()).optional().describe('ports of the host that lead into the guest: tcp:2222:22'),
  dhcp: z.string().optional().describe('network whose addresses the bridge gives by DHCP: 192.168.7.0/24'),
  capture: z.string().optional().describe('absolute path of a pcap file that gets all frames'),
});

export const DomainSpec = z.strictObject({
  name: z
    .string()
    .regex(/^[^/\0\s]([^/\0\n]{0,254})$/, 'a name has 1 to 255 characters, without "/" or line breaks')
    .describe('name of the domain'),
  uuid: z.guid().optional().describe('default: random'),
  type: z.enum(GUEST_TYPES).default('pv').describe('pv, or pvh: with page tables and interrupts as on a bare machine'),
  memory: z
    .int()
    .min(1)
    .max(1 << 20)
    .describe('MiB the domain starts with'),
  maxmem: z
    .int()
    .min(1)
    .max(1 << 20)
    .optional()
    .describe('MiB it may have at most; default: memory'),
  vcpus: z.int().min(1).max(MAX_VCPUS).default(1).describe('vCPUs online at the start'),
  maxvcpus: z.int().min(1).max(MAX_VCPUS).optional().describe('vCPUs there may be; default: vcpus'),
  kernel: z
    .string()
    .min(1)
    .optional()
    .describe('absolute path of a bzImage or ELF file; with bootloader: a path in the guest'),
  ramdisk: z.string().min(1).optional().describe('absolute path'),
  bootloader: z.enum(['pygrub']).optional().describe('finds the kernel in the first disk'),
  bootloader_args: z.array(z.string()).optional(),
  cmdline: z.string().default('').describe("the kernel's command line"),
  cpus: z
    .union([CpuList, z.array(CpuList)])
    .optional()
    .describe('hard affinity, for all vCPUs or one by one'),
  cpus_soft: z.union([CpuList, z.array(CpuList)]).optional(),
  cpu_weight: z.int().min(1).max(65535).optional(),
  cap: z.int().min(0).max(65535).optional(),
  pool: z.string().optional().describe('CPU pool, by name or number'),
  on_poweroff: Action.optional(),
  on_reboot: Action.optional(),
  on_watchdog: Action.optional(),
  on_crash: Action.optional(),
  on_soft_reset: Action.optional(),
  tsc_mode: z.enum(['default', 'always_emulate', 'native']).optional(),
  localtime: z.boolean().optional().describe('its clock shows local time instead of UTC'),
  rtc_timeoffset: z
    .int()
    .min(-(2 ** 31))
    .max(2 ** 31 - 1)
    .optional()
    .describe('seconds added to its clock'),
  nomigrate: z.boolean().optional(),
  max_grant_version: z.int().min(1).max(2).optional(),
  disk: z.array(DiskSpec).max(128).optional(),
  vif: z.array(NicSpec).max(128).optional(),
  channel: z
    .array(z.strictObject({ name: z.string().min(1), path: z.string().min(1).optional() }))
    .optional()
    .describe('consoles besides the first, each with a pty, or a Unix socket at `path`'),
  max_grant_frames: z
    .int()
    .min(1)
    .max(1 << 16)
    .optional(),
  max_maptrack_frames: z
    .int()
    .min(0)
    .max(1 << 16)
    .optional(),
  max_event_channels: z
    .int()
    .min(1)
    .max(1 << 17)
    .optional(),
});

export type DomainSpec = z.infer<typeof DomainSpec>;
/** As a caller writes it: what has a default may be left out. */
export type DomainSpecInput = z.input<typeof DomainSpec>;

/** One thing that is wrong with a spec, and the key it belongs to (`''`: none). */
export interface SpecProblem {
  readonly key: string;
  readonly message: string;
}

export class SpecError extends ToolstackError {
  readonly problems: readonly SpecProblem[];

  constructor(problems: readonly SpecProblem[]) {
    super(problems.map((p) => (p.key ? `${p.key}: ${p.message}` : p.message)).join('\n'));
    this.problems = problems;
  }
}

/** Throws SpecError with everything that is wrong. */
export function parseSpec(input: unknown): DomainSpec {
  const parsed = DomainSpec.safeParse(input);
  if (!parsed.success) {
    throw new SpecError(parsed.error.issues.map((i) => ({ key: i.path.map(String).join('.'), message: i.message })));
  }
  const spec = parsed.data;
  const problems: SpecProblem[] = [];
  if (spec.maxmem !== undefined && spec.maxmem < spec.memory) {
    problems.push({ key: 'maxmem', message: `${spec.maxmem} is less than memory = ${spec.memory}` });
  }
  if (spec.maxvcpus !== undefined && spec.maxvcpus < spec.vcpus) {
    problems.push({ key: 'maxvcpus', message: `${spec.maxvcpus} is less than vcpus = ${spec.vcpus}` });
  }
  for (const key of ['vcpus', 'maxvcpus'] as const) {
    const message = vcpusRefused(spec.type, spec[key] ?? 1);
    if (message) problems.push({ key, message });
  }
  if (spec.kernel === undefined && spec.bootloader === undefined) {
    const what = `a ${spec.type.toUpperCase()} guest needs one, or bootloader="pygrub"`;
    problems.push({ key: '', message: `kernel= is missing: ${what}` });
  }
  if (problems.length > 0) throw new SpecError(problems);
  return spec;
}
