/** Calls about devices of every kind. */
import { z } from 'zod';
import { VBD_COUNTERS, VIF_COUNTERS } from '../../dom0/backends/counters.ts';
import { call } from './call.ts';

const names = <T extends Record<string, number>>(table: T) => Object.keys(table) as (keyof T & string)[];
const counters = <T extends Record<string, number>>(table: T) =>
  z
    .record(z.enum(names(table)), z.number())
    .nullable()
    .describe('null: another domain serves it');

export const DeviceCounters = z.strictObject({
  domid: z.int(),
  vbds: z.array(z.strictObject({ devid: z.int(), vdev: z.string(), counters: counters(VBD_COUNTERS) })),
  vifs: z.array(z.strictObject({ devid: z.int(), counters: counters(VIF_COUNTERS) })),
});
export type DeviceCounters = z.infer<typeof DeviceCounters>;

export const deviceCalls = {
  'device.counters': call({
    summary:
      'what the disks and network cards of every domain have done so far; tx is what the guest sent, sectors have 512 bytes',
    params: z.strictObject({}),
    result: z.array(DeviceCounters),
  }),
};
