/** Network devices: public/io/netif.h. */
import { struct } from './layout.ts';

export const NETTXF = { csum_blank: 1, data_validated: 2, more_data: 4, extra_info: 8 } as const;
export const NETRXF = { data_validated: 1, csum_blank: 2, more_data: 4, extra_info: 8, gso_prefix: 16 } as const;
export const NETIF_RSP = { DROPPED: -2, ERROR: -1, OKAY: 0, NULL: 1 } as const;
export const XEN_NETIF_EXTRA_TYPE = { NONE: 0, GSO: 1, MCAST_ADD: 2, MCAST_DEL: 3, HASH: 4 } as const;
export const XEN_NETIF_EXTRA_FLAG_MORE = 1;
export const XEN_NETIF_GSO_TYPE = { NONE: 0, TCPV4: 1, TCPV6: 2 } as const;
/** Slots that every back end must take for one packet (XEN_NETIF_NR_SLOTS_MIN). */
export const XEN_NETIF_NR_SLOTS_MIN = 18;

export const NetifTxRequest = struct('netif_tx_request', [
  ['gref', 'u32'],
  ['offset', 'u16'],
  ['flags', 'u16'],
  ['id', 'u16'],
  ['size', 'u16'],
]);

export const NetifTxResponse = struct('netif_tx_response', [
  ['id', 'u16'],
  ['status', 'i16'],
]);

export const NetifRxRequest = struct('netif_rx_request', [
  ['id', 'u16'],
  ['pad', 'u16'],
  ['gref', 'u32'],
]);

export const NetifRxResponse = struct('netif_rx_response', [
  ['id', 'u16'],
  ['offset', 'u16'],
  ['flags', 'u16'],
  ['status', 'i16'],
]);

/** The variant for segmentation offload (`u.gso`). */
export const NetifExtraGso = struct('netif_extra_info', [
  ['type', 'u8'],
  ['flags', 'u8'],
  ['size', 'u16'],
  ['gso_type', 'u8'],
  ['pad', 'u8'],
  ['features', 'u16'],
]);

/** The variant that adds an address to the filter of multicast frames, or removes it (`u.mcast`). */
export const NetifExtraMcast = struct('netif_extra_info', [
  ['type', 'u8'],
  ['flags', 'u8'],
  ['addr', 'u8', 6],
]);

/** The variant with the hash of a packet (`u.hash`): `hash_type` is a bit's number, `value` little endian. */
export const NetifExtraHash = struct('netif_extra_info', [
  ['type', 'u8'],
  ['flags', 'u8'],
  ['hash_type', 'u8'],
  ['algorithm', 'u8'],
  ['value', 'u8', 4],
]);

export const XEN_NETIF_CTRL_TYPE = {
  INVALID: 0,
  GET_HASH_FLAGS: 1,
  SET_HASH_FLAGS: 2,
  SET_HASH_KEY: 3,
  GET_HASH_MAPPING_SIZE: 4,
  SET_HASH_MAPPING_SIZE: 5,
  SET_HASH_MAPPING: 6,
  SET_HASH_ALGORITHM: 7,
  GET_GREF_MAPPING_SIZE: 8,
  ADD_GREF_MAPPING: 9,
  DEL_GREF_MAPPING: 10,
} as const;
export const XEN_NETIF_CTRL_STATUS = {
  SUCCESS: 0,
  NOT_SUPPORTED: 1,
  INVALID_PARAMETER: 2,
  BUFFER_OVERFLOW: 3,
} as const;
export const XEN_NETIF_CTRL_HASH_ALGORITHM = { NONE: 0, TOEPLITZ: 1 } as const;
/** Numbers of the bits of the hash types (_XEN_NETIF_CTRL_HASH_TYPE_*). */
export const XEN_NETIF_CTRL_HASH_TYPE = { IPV4: 0, IPV4_TCP: 1, IPV6: 2, IPV6_TCP: 3 } as const;

export const XenNetifCtrlRequest = struct('xen_netif_ctrl_request', [
  ['id', 'u16'],
  ['type', 'u16'],
  ['data', 'u32', 3],
]);

export const XenNetifCtrlResponse = struct('xen_netif_ctrl_response', [
  ['id', 'u16'],
  ['type', 'u16'],
  ['status', 'u32'],
  ['data', 'u32'],
]);

/** Bytes of a slot of each ring: the larger of request and response. */
export const NETIF_TX_ENTRY_SIZE = NetifTxRequest.size;
export const NETIF_RX_ENTRY_SIZE = NetifRxRequest.size;
export const NETIF_CTRL_ENTRY_SIZE = XenNetifCtrlRequest.size;
