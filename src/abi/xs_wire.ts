/** XenStore's wire protocol: message types, limits and the ring page. Header: xen/include/public/io/xs_wire.h. */
import { struct } from './layout.ts';

/** `enum xsd_sockmsg_type`. 20 was XS_RESTRICT and is no longer assigned. */
export const XS = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
} as const;

/** `xsd_errors[]`: an error travels as its name. */
export const XSD_ERRORS = [
  'EINVAL',
  'EACCES',
  'EEXIST',
  'EISDIR',
  'ENOENT',
  'ENOMEM',
  'ENOSPC',
  'EIO',
  'ENOTEMPTY',
  'ENOSYS',
  'EROFS',
  'EBUSY',
  'EAGAIN',
  'EISCONN',
  'E2BIG',
  'EPERM',
] as const;
export type XsdError = (typeof XSD_ERRORS)[number];

/** `struct xsd_sockmsg`: followed by `len` bytes of payload. */
export const XsdSockmsg = struct('XsdSockmsg', [
  ['type', 'u32'],
  ['req_id', 'u32'],
  ['tx_id', 'u32'],
  ['len', 'u32'],
]);

/** Bytes in each direction of the ring. */
export const XENSTORE_RING_SIZE = 1024;

/** `struct xenstore_domain_interface`. */
export const XenstoreDomainInterface = struct('XenstoreDomainInterface', [
  ['req', 'u8', XENSTORE_RING_SIZE],
  ['rsp', 'u8', XENSTORE_RING_SIZE],
  ['req_cons', 'u32'],
  ['req_prod', 'u32'],
  ['rsp_cons', 'u32'],
  ['rsp_prod', 'u32'],
  ['server_features', 'u32'],
  ['connection', 'u32'],
  ['error', 'u32'],
]);

/** Exceeding this kills the connection. */
export const XENSTORE_PAYLOAD_MAX = 4096;
/** Exceeding these is answered with an error. */
export const XENSTORE_ABS_PATH_MAX = 3072;
export const XENSTORE_REL_PATH_MAX = 2048;

export const XENSTORE_SERVER_FEATURE_RECONNECTION = 1;
export const XENSTORE_SERVER_FEATURE_ERROR = 2;

/** Values of `connection`. */
export const XENSTORE_CONNECTED = 0;
export const XENSTORE_RECONNECT = 1;

/** Values of `error`. */
export const XENSTORE_ERROR = { NONE: 0, COMM: 1, RINGIDX: 2, PROTO: 3 } as const;
