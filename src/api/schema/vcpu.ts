/** Calls about vCPUs and memory of domains, and what guests are told. */
import { z } from 'zod';
import { TRIGGERS } from '../../dom0/toolstack/control.ts';
import { call } from './call.ts';
import { Which } from './domain.ts';

const none = z.strictObject({});
const Cpus = z.array(z.int());

export const VcpuEntry = z.strictObject({
  vcpu: z.int(),
  online: z.boolean(),
  running: z.boolean(),
  blocked: z.boolean(),
  cpu: z.int().describe('pCPU it runs on, or ran on last'),
  time: z.number().describe('seconds'),
  hard: Cpus.describe('pCPUs it may run on'),
  soft: Cpus.describe('pCPUs it would rather run on'),
});
export type VcpuEntry = z.infer<typeof VcpuEntry>;

const Kib = z
  .int()
  .min(0)
  .max(1 << 30);

export const vcpuCalls = {
  'vcpu.list': call({
    summary: 'the vCPUs of a domain',
    params: z.strictObject({ domain: Which }),
    result: z.array(VcpuEntry),
  }),
  'vcpu.pin': call({
    summary: 'where vCPUs may, and would rather, run: lists of CPUs as xl writes them',
    params: z.strictObject({
      domain: Which,
      vcpu: z.union([z.int().min(0), z.literal('all')]),
      hard: z.string().optional(),
      soft: z.string().optional(),
    }),
    result: none,
  }),
  'vcpu.set': call({
    summary: 'asks the guest to have this many vCPUs online',
    params: z.strictObject({ domain: Which, count: z.int().min(0) }),
    result: none,
  }),
  'memory.setTarget': call({
    summary: 'asks the guest’s balloon driver for this much memory, and lets it have no more',
    params: z.strictObject({ domain: Which, kib: Kib }),
    result: none,
  }),
  'memory.setMax': call({
    summary: 'the most memory that the hypervisor lets the guest have',
    params: z.strictObject({ domain: Which, kib: Kib }),
    result: none,
  }),
  'domain.sysrq': call({
    summary: 'sends a magic system request',
    params: z.strictObject({ domain: Which, key: z.string().length(1) }),
    result: none,
  }),
  'domain.trigger': call({
    summary: 'sends a trigger; guests take nmi',
    params: z.strictObject({ domain: Which, trigger: z.enum(TRIGGERS), vcpu: z.int().min(0).default(0) }),
    result: none,
  }),
};
