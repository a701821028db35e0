/** Calls that make, list, change and end domains. */
import { z } from 'zod';
import { DomainSpec } from '../../dom0/toolstack/spec.ts';
import { call } from './call.ts';

/** A domain's id, or its name. */
export const Which = z.union([z.int().min(0).max(0x7fff), z.string().min(1)]).describe('id or name of a domain');

const one = z.strictObject({ domain: Which });
const none = z.strictObject({});

/** As libxl_dominfo. */
export const DomainInfo = z.strictObject({
  domid: z.int(),
  name: z.string(),
  uuid: z.string(),
  running: z.boolean(),
  blocked: z.boolean(),
  paused: z.boolean(),
  shutdown: z.boolean(),
  dying: z.boolean(),
  shutdownReason: z.int().nullable().describe('SHUTDOWN_* of public/sched.h; null if it has not shut down'),
  memoryKiB: z.int(),
  outstandingKiB: z.int().describe('claimed and not populated yet'),
  maxMemoryKiB: z.int(),
  targetKiB: z.int().nullable().describe('what its balloon driver is asked for; null: nothing'),
  cpuTime: z.number().describe('seconds'),
  vcpusOnline: z.int(),
  vcpusMax: z.int(),
  cpupool: z.int(),
  neverStop: z.boolean().describe('the control domain, driver domains: not a guest'),
  startTime: z.number().describe('seconds since 1970'),
});
export type DomainInfo = z.infer<typeof DomainInfo>;

export const domainCalls = {
  'domain.list': call({
    summary: 'every domain, the control domain first',
    params: none,
    result: z.array(DomainInfo),
  }),
  'domain.info': call({ summary: 'one domain', params: one, result: DomainInfo }),
  'domain.create': call({
    summary: 'makes a domain and starts it',
    params: z.strictObject({
      config: DomainSpec,
      paused: z.boolean().default(false).describe('leave it paused'),
      monitor: z.boolean().default(true).describe('carry out on_poweroff, on_reboot, … when it ends'),
    }),
    result: z.strictObject({ domid: z.int(), name: z.string(), uuid: z.string() }),
    progress: true,
  }),
  'domain.config': call({
    summary: 'what a guest has now: the configuration it was made from, with what was changed since',
    params: one,
    result: DomainSpec,
  }),
  'domain.updateConfig': call({
    summary: 'replaces the configuration that is used when the guest restarts',
    params: z.strictObject({ domain: Which, config: DomainSpec }),
    result: none,
  }),
  'domain.destroy': call({ summary: 'ends a domain at once', params: one, result: none }),
  'domain.pause': call({ summary: 'stops its vCPUs', params: one, result: none }),
  'domain.unpause': call({ summary: 'lets its vCPUs run', params: one, result: none }),
  'domain.shutdown': call({
    summary: 'asks the guest’s kernel to power off, reboot or halt; it may take its time',
    params: z.strictObject({ domain: Which, how: z.enum(['poweroff', 'reboot', 'halt']).default('poweroff') }),
    result: none,
  }),
  'domain.dumpCore': call({
    summary: 'writes its vCPUs and memory to a file, in Xen’s dump format; it is paused for as long',
    params: z.strictObject({ domain: Which, file: z.string().min(1).describe('absolute path on the host') }),
    result: z.strictObject({ bytes: z.int() }),
    progress: true,
  }),
  'domain.debug': call({
    summary: 'opens a gdb server for its kernel, until it ends; whoever can connect can do anything to it',
    params: z.strictObject({
      domain: Which,
      at: z
        .union([z.int().min(0).max(65535), z.string().regex(/^\//)])
        .describe('a TCP port of 127.0.0.1 (0: any that is free), or the absolute path of a unix socket'),
    }),
    result: z.strictObject({ address: z.string().describe('for gdb’s `target remote`') }),
  }),
  'domain.rename': call({
    summary: 'gives it another name',
    params: z.strictObject({ domain: Which, name: DomainSpec.shape.name }),
    result: none,
  }),
};
