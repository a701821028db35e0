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

/** Bytes of a slot of each ring: the larger of request and response. */
export const NETIF_TX_ENTRY_SIZE = NetifTxRequest.size;
export const NETIF_RX_ENTRY_SIZE = NetifRxRequest.size;
