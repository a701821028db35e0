/** Calls about driver domains that devices name (`backend=`). Each device that names none has one of its own. */
import { z } from 'zod';
import { call } from './call.ts';

const Name = z.string().regex(/^[^/\0\s][^/\0\n]{0,63}$/, 'a name has 1 to 64 characters, without "/" or line breaks');
const none = z.strictObject({});

export const DriverEntry = z.strictObject({
  name: z.string(),
  domid: z.int(),
  devices: z.array(z.string()).describe('paths of their back ends in XenStore'),
  restarts: z.int().describe('how often it failed and was started again'),
  lost: z.string().optional().describe('why its devices do nothing but fail'),
});

export const driverCalls = {
  'driver.create': call({
    summary: 'makes a driver domain for the devices whose backend= names it',
    params: z.strictObject({ name: Name }),
    result: z.strictObject({ domid: z.int() }),
  }),
  'driver.destroy': call({
    summary: 'ends a driver domain that no device uses any more',
    params: z.strictObject({ name: z.string() }),
    result: none,
  }),
  'driver.list': call({
    summary: 'the driver domains that have names',
    params: none,
    result: z.array(DriverEntry),
  }),
};
