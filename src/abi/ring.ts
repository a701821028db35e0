/**
 * Head of a shared ring of requests and responses (public/io/ring.h). Indices run freely. The number of entries is the
 * largest power of two that fits behind the head.
 */
import { struct } from './layout.ts';

export const Sring = struct('sring', [
  ['req_prod', 'u32'],
  ['req_event', 'u32'],
  ['rsp_prod', 'u32'],
  ['rsp_event', 'u32'],
  ['pvt', 'u8', 4],
  ['__pad', 'u8', 44],
]);
