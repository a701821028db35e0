/** nmi_op (public/nmi.h). */
import { struct } from './layout.ts';

export const XENNMI = { register_callback: 0, unregister_callback: 1 } as const;
export const XenNmiCallback = struct('xennmi_callback', [
  ['handler_address', 'u64'],
  ['pad', 'u64'],
]);
/** Bits of arch_shared_info.nmi_reason. */
export const XEN_NMIREASON = { io_error: 1, pci_serr: 2, unknown: 4 } as const;
