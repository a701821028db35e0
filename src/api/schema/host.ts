/** Calls about the host as a whole. */
import { z } from 'zod';
import { call } from './call.ts';

export const HostStatus = z.strictObject({
  pid: z.int(),
  version: z.string(),
  /** ms since 1970. */
  started: z.number(),
  socket: z.string(),
  memoryMiB: z.int(),
  pcpus: z.int(),
  domains: z.int().describe('guests, the control domain not counted'),
  state: z.enum(['running', 'stopping', 'failed']),
});

const Cpus = z.array(z.int());

export const HostInfo = z.strictObject({
  cpus: z.int(),
  maxCpuId: z.int(),
  nodes: z.int(),
  coresPerSocket: z.int(),
  threadsPerCore: z.int(),
  cpuKhz: z.int(),
  hwCaps: z.array(z.int()).describe('CPUID feature words'),
  virtCaps: z.array(z.string()),
  totalPages: z.int().describe('of 4 KiB'),
  freePages: z.int(),
  outstandingPages: z.int().describe('claimed and not populated yet'),
  freeCpus: Cpus.describe('in no pool'),
  version: z.strictObject({
    major: z.int(),
    minor: z.int(),
    extra: z.string(),
    capabilities: z.string(),
    pageSize: z.int(),
    virtStart: z.string(),
    changeset: z.string(),
    commandLine: z.string(),
    compile: z.strictObject({ compiler: z.string(), by: z.string(), domain: z.string(), date: z.string() }),
  }),
  scheduler: z.string(),
  topology: z.array(z.strictObject({ core: z.int(), socket: z.int(), node: z.int() })),
  numa: z.strictObject({
    nodes: z.array(z.strictObject({ size: z.number(), free: z.number() })).describe('bytes'),
    distances: z.array(z.int()).describe('row by row'),
  }),
});
export type HostInfo = z.infer<typeof HostInfo>;

export const hostCalls = {
  'host.info': call({
    summary: 'what the machine and its hypervisor are',
    params: z.strictObject({}),
    result: HostInfo,
  }),
  'host.dmesg': call({
    summary: 'the hypervisor’s log',
    params: z.strictObject({ clear: z.boolean().default(false) }),
    result: z.strictObject({ text: z.string() }),
  }),
  'host.debugKeys': call({
    summary: 'presses keys of the hypervisor’s debug menu',
    params: z.strictObject({ keys: z.string().min(1).max(256) }),
    result: z.strictObject({}),
  }),
  'host.status': call({ summary: 'what host this is', params: z.strictObject({}), result: HostStatus }),
  'host.stop': call({
    summary: 'shuts all guests down, then ends the host; answers at once, and the event stream ends when it is done',
    params: z.strictObject({
      timeout: z.number().min(0).max(3600).optional().describe('seconds that guests get to shut down in'),
    }),
    result: z.strictObject({}),
  }),
};
