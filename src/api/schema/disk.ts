/** Calls about the disks of domains. */
import { z } from 'zod';
import { DiskSpec } from '../../dom0/toolstack/spec.ts';
import { call } from './call.ts';
import { Which } from './domain.ts';

const none = z.strictObject({});
const one = z.strictObject({ domain: Which });

export const DiskEntry = z.strictObject({
  devid: z.int(),
  backendDomid: z.int(),
  state: z.int().describe('XenbusState of the front end'),
  eventChannel: z.int().describe('-1: not there yet, as the ring references'),
  backend: z.string().describe('path of the back end in XenStore'),
  vdev: z.string(),
  ringRef: z.int(),
});

export const diskCalls = {
  'disk.list': call({
    summary: 'the disks of a domain',
    params: one,
    result: z.array(DiskEntry),
  }),
  'disk.attach': call({
    summary: 'gives a domain a disk',
    params: z.strictObject({ domain: Which, disk: DiskSpec }),
    result: none,
  }),
  'disk.detach': call({
    summary: 'takes a disk away; the guest is asked first, unless forced',
    params: z.strictObject({ domain: Which, vdev: z.string().min(1), force: z.boolean().default(false) }),
    result: none,
  }),
  'disk.insert': call({
    summary: 'puts a medium into a CD drive',
    params: z.strictObject({ domain: Which, vdev: z.string().min(1), target: z.string().min(1) }),
    result: none,
  }),
  'disk.eject': call({
    summary: 'empties a CD drive',
    params: z.strictObject({ domain: Which, vdev: z.string().min(1) }),
    result: none,
  }),
};
