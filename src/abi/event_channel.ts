/** event_channel_op, and the FIFO event words (public/event_channel.h). */
import { struct } from './layout.ts';

export const EVTCHNOP = {
  bind_interdomain: 0,
  bind_virq: 1,
  bind_pirq: 2,
  close: 3,
  send: 4,
  status: 5,
  alloc_unbound: 6,
  bind_ipi: 7,
  bind_vcpu: 8,
  unmask: 9,
  reset: 10,
  init_control: 11,
  expand_array: 12,
  set_priority: 13,
  /** Inside the hypervisor only. */
  reset_cont: 14,
} as const;

export const EvtchnAllocUnbound = struct('evtchn_alloc_unbound', [
  ['dom', 'u16'],
  ['remote_dom', 'u16'],
  ['port', 'u32'],
]);

export const EvtchnBindInterdomain = struct('evtchn_bind_interdomain', [
  ['remote_dom', 'u16'],
  ['remote_port', 'u32'],
  ['local_port', 'u32'],
]);

export const EvtchnBindVirq = struct('evtchn_bind_virq', [
  ['virq', 'u32'],
  ['vcpu', 'u32'],
  ['port', 'u32'],
]);

export const EvtchnBindPirq = struct('evtchn_bind_pirq', [
  ['pirq', 'u32'],
  ['flags', 'u32'],
  ['port', 'u32'],
]);
export const BIND_PIRQ__WILL_SHARE = 1;

export const EvtchnBindIpi = struct('evtchn_bind_ipi', [
  ['vcpu', 'u32'],
  ['port', 'u32'],
]);

export const EvtchnClose = struct('evtchn_close', [['port', 'u32']]);
export const EvtchnSend = struct('evtchn_send', [['port', 'u32']]);
export const EvtchnUnmask = struct('evtchn_unmask', [['port', 'u32']]);
export const EvtchnReset = struct('evtchn_reset', [['dom', 'u16']]);

export const EVTCHNSTAT = { closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 } as const;

/** u_*: by status; unbound and interdomain share `u_dom`. */
export const EvtchnStatus = struct('evtchn_status', [
  ['dom', 'u16'],
  ['port', 'u32'],
  ['status', 'u32'],
  ['vcpu', 'u32'],
  [
    'u',
    struct('evtchn_status_u', [
      ['dom', 'u16'],
      ['port', 'u32'],
    ]),
  ],
]);
/** EvtchnStatus.u for status pirq and virq: the number is at its start, 4 bytes. */

export const EvtchnBindVcpu = struct('evtchn_bind_vcpu', [
  ['port', 'u32'],
  ['vcpu', 'u32'],
]);

export const EvtchnInitControl = struct('evtchn_init_control', [
  ['control_gfn', 'u64'],
  ['offset', 'u32'],
  ['vcpu', 'u32'],
  ['link_bits', 'u8'],
  ['_pad', 'u8', 7],
]);

export const EvtchnExpandArray = struct('evtchn_expand_array', [['array_gfn', 'u64']]);

export const EvtchnSetPriority = struct('evtchn_set_priority', [
  ['port', 'u32'],
  ['priority', 'u32'],
]);

/** The argument of the old event_channel_op_compat: u is that of the operation `cmd`. */
export const EvtchnOp = struct('evtchn_op', [
  ['cmd', 'u32'],
  ['u', EvtchnStatus],
]);

export const EVTCHN_2L_NR_CHANNELS = 4096;

/** PENDING, MASKED, LINKED, BUSY are bit numbers of an event word; its low LINK_BITS name the next port of the queue. */
export const EVTCHN_FIFO = {
  PRIORITY_MAX: 0,
  PRIORITY_DEFAULT: 7,
  PRIORITY_MIN: 15,
  MAX_QUEUES: 16,
  PENDING: 31,
  MASKED: 30,
  LINKED: 29,
  BUSY: 28,
  LINK_BITS: 17,
  LINK_MASK: 0x1_ffff,
  NR_CHANNELS: 0x2_0000,
} as const;

export const EvtchnFifoControlBlock = struct('evtchn_fifo_control_block', [
  ['ready', 'u32'],
  ['_rsvd', 'u32'],
  ['head', 'u32', 16],
]);
