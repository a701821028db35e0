/** Calls about network cards. */
import { z } from 'zod';
import { NicSpec } from '../../dom0/toolstack/spec.ts';
import { call } from './call.ts';
import { Which } from './domain.ts';

const none = z.strictObject({});

export const NicEntry = z.strictObject({
  devid: z.int(),
  backendDomid: z.int(),
  mac: z.string(),
  state: z.int().describe('XenbusState of the front end'),
  eventChannel: z.int().describe('-1: not connected'),
  txRingRef: z.int(),
  rxRingRef: z.int(),
  backend: z.string().describe('path in XenStore'),
});

export const networkCalls = {
  'network.attach': call({
    summary: 'gives a domain a network card',
    params: z.strictObject({ domain: Which, nic: NicSpec }),
    result: z.strictObject({ devid: z.int() }),
  }),
  'network.detach': call({
    summary: 'takes a network card away; a guest that does not let go of it in 10 s keeps it unless `force`',
    params: z.strictObject({
      domain: Which,
      card: z.string().describe('its number or MAC address'),
      force: z.boolean().default(false),
    }),
    result: none,
  }),
  'network.list': call({
    summary: 'the network cards of a domain',
    params: z.strictObject({ domain: Which }),
    result: z.array(NicEntry),
  }),
};
