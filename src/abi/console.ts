/** The console ring page. Header: xen/include/public/io/console.h. */
import { struct } from './layout.ts';

export const XENCONS_IN_SIZE = 1024;
export const XENCONS_OUT_SIZE = 2048;

/** `struct xencons_interface`: `in` flows to the guest, `out` from it; indices are free-running byte counts. */
export const XenconsInterface = struct('XenconsInterface', [
  ['in', 'u8', XENCONS_IN_SIZE],
  ['out', 'u8', XENCONS_OUT_SIZE],
  ['in_cons', 'u32'],
  ['in_prod', 'u32'],
  ['out_cons', 'u32'],
  ['out_prod', 'u32'],
]);
