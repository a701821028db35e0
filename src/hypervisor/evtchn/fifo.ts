// The FIFO ABI: an event word a port in pages the guest gives (expand_array), queues of 16 priorities a vCPU whose heads
// lie in the vCPU's control block (init_control). Design: public/event_channel.h and Xen's docs/designs/event-channels.
// Words and control blocks are the guest's memory: whatever it writes there only confuses its own queues.
import { ERRNO, EVTCHN_2L_NR_CHANNELS, EVTCHN_FIFO, EvtchnFifoControlBlock, EvtchnInitControl } from "../abi";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { alloc_xenheap_page } from "../mm/heap";
import { free_xenheap_page } from "../mm/page";
import { get_page_and_type_writable, put_page_and_type_writable } from "../mm/domain";
import { map_domain_page } from "../mm/frame";
import { spin_lock, spin_unlock } from "../spinlock";
import { Evtchn, evtchn_from_port, port_is_valid } from "./struct";
import { mark_events_pending } from "./evtchn";
import { evtchn_2l_is_pending } from "./two_level";

const PENDING: u32 = 1 << EVTCHN_FIFO.PENDING;
const MASKED: u32 = 1 << EVTCHN_FIFO.MASKED;
const LINKED: u32 = 1 << EVTCHN_FIFO.LINKED;
const BUSY: u32 = 1 << EVTCHN_FIFO.BUSY;
const LINK_MASK: u32 = EVTCHN_FIFO.LINK_MASK;
const WORDS_PER_PAGE: u32 = 1024;
const MAX_ARRAY_PAGES: u32 = EVTCHN_FIFO.NR_CHANNELS / WORDS_PER_PAGE;

/** Domain.evtchn_fifo points to one page: u32 mfn of each array page, then the count of them. */
const ARRAY_COUNT: u32 = MAX_ARRAY_PAGES * 4;
/** Vcpu.evtchn_fifo points to one page: u32 control block mfn, u32 its offset, u32 tail[16] of the queues. */
const CB_MFN: u32 = 0;
const CB_OFFSET: u32 = 4;
const TAIL: u32 = 8;

// @ts-ignore: decorator
@inline
function lock_of(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("evtchn_fifo_lock");
}

/** Address of the port's event word, or 0: its page is not there yet. */
function word_of(d: Domain, port: u32): usize {
  const page = port / WORDS_PER_PAGE;
  if (page >= load<u32>(d.evtchn_fifo + ARRAY_COUNT)) return 0;
  return map_domain_page(load<u32>(d.evtchn_fifo + (page << 2))) + ((port % WORDS_PER_PAGE) << 2);
}

function control_block(v: Vcpu): usize {
  return map_domain_page(load<u32>(v.evtchn_fifo, CB_MFN)) + load<u32>(v.evtchn_fifo, CB_OFFSET);
}

/** Puts `port` behind the tail's word while that is still linked. False: it is not, or the guest keeps changing it. */
function set_link(tail: usize, port: u32): bool {
  let w = atomic.load<u32>(tail);
  for (let tries: u32 = 0; tries < 4; tries++) {
    if (!(w & LINKED)) return false;
    const seen = atomic.cmpxchg<u32>(tail, w, (w & ~(LINK_MASK | BUSY)) | port);
    if (seen == w) return true;
    w = seen;
  }
  // BUSY asks the guest to leave the word alone; a guest that goes on changing it loses this link, nobody else.
  atomic.or<u32>(tail, BUSY);
  w = atomic.load<u32>(tail);
  for (let tries: u32 = 0; tries < 4 && w & LINKED; tries++) {
    const seen = atomic.cmpxchg<u32>(tail, w, (w & ~(LINK_MASK | BUSY)) | port);
    if (seen == w) return true;
    w = seen;
  }
  atomic.and<u32>(tail, ~BUSY);
  return false;
}

/** The channel becomes pending for v. Returns the vCPU to kick, or null. The channel's lock is held. */
export function evtchn_fifo_set_pending(d: Domain, v: Vcpu, chn: Evtchn): Vcpu {
  const port = chn.port;
  const word = word_of(d, port);
  if (word == 0) {
    // Delivered when the guest adds the page.
    chn.pending = 1;
    return changetype<Vcpu>(0);
  }
  atomic.or<u32>(word, PENDING);
  if (atomic.load<u32>(word) & (MASKED | LINKED)) return changetype<Vcpu>(0);
  if (v.evtchn_fifo == 0) return changetype<Vcpu>(0);
  spin_lock(lock_of(d));
  if (atomic.or<u32>(word, LINKED) & LINKED) {
    spin_unlock(lock_of(d));
    return changetype<Vcpu>(0);
  }
  // Was it the tail of the queue that it was on before? Then that queue is empty: nothing may be linked behind it.
  const old = domain_vcpu(d, chn.last_vcpu_id);
  if (changetype<usize>(old) != 0 && old.evtchn_fifo != 0) {
    const t = old.evtchn_fifo + TAIL + (<usize>chn.last_priority << 2);
    if (load<u32>(t) == port) store<u32>(t, 0);
  }
  chn.last_vcpu_id = <u16>v.vcpu_id;
  chn.last_priority = chn.priority;
  const priority = <u32>chn.priority;
  const tail = v.evtchn_fifo + TAIL + (priority << 2);
  let linked = false;
  const tail_port = load<u32>(tail);
  if (tail_port != 0) {
    const tail_word = word_of(d, tail_port);
    linked = tail_word != 0 && set_link(tail_word, port);
  }
  const cb = control_block(v);
  if (!linked) atomic.store<u32>(cb + EvtchnFifoControlBlock.head + (priority << 2), port);
  store<u32>(tail, port);
  let kick = changetype<Vcpu>(0);
  if (!linked) {
    const ready: u32 = 1 << priority;
    if (!(atomic.or<u32>(cb + EvtchnFifoControlBlock.ready, ready) & ready)) kick = mark_events_pending(v);
  }
  spin_unlock(lock_of(d));
  return kick;
}

export function evtchn_fifo_unmask(d: Domain, v: Vcpu, chn: Evtchn): Vcpu {
  const word = word_of(d, chn.port);
  if (word == 0) return changetype<Vcpu>(0);
  atomic.and<u32>(word, ~MASKED);
  if (atomic.load<u32>(word) & PENDING) return evtchn_fifo_set_pending(d, v, chn);
  return changetype<Vcpu>(0);
}

export function evtchn_fifo_clear_pending(d: Domain, port: u32): void {
  const word = word_of(d, port);
  // The word may stay linked: the guest takes it off the queue and finds nothing pending.
  if (word != 0) atomic.and<u32>(word, ~PENDING);
}

export function evtchn_fifo_is_pending(d: Domain, port: u32): bool {
  const word = word_of(d, port);
  return word != 0 && (atomic.load<u32>(word) & PENDING) != 0;
}

export function evtchn_fifo_is_masked(d: Domain, port: u32): bool {
  const word = word_of(d, port);
  return word == 0 || (atomic.load<u32>(word) & MASKED) != 0;
}

/** Busy: still linked on a queue, so that its port must not be given away. */
export function evtchn_fifo_is_busy(d: Domain, port: u32): bool {
  const word = word_of(d, port);
  return word != 0 && (atomic.load<u32>(word) & LINKED) != 0;
}

function setup_vcpu(v: Vcpu, mfn: u32, offset: u32): i64 {
  if (v.evtchn_fifo == 0) {
    v.evtchn_fifo = alloc_xenheap_page();
    if (v.evtchn_fifo == 0) return -ERRNO.ENOMEM;
  }
  store<u32>(v.evtchn_fifo, mfn, CB_MFN);
  store<u32>(v.evtchn_fifo, offset, CB_OFFSET);
  // Nothing is queued in it yet.
  const cb = control_block(v);
  atomic.store<u32>(cb + EvtchnFifoControlBlock.ready, 0);
  for (let i: usize = 0; i < 16; i++) atomic.store<u32>(cb + EvtchnFifoControlBlock.head + (i << 2), 0);
  return 0;
}

/** EVTCHNOP_init_control: arg in machine memory. The first one switches the domain to this ABI. evtchn_lock is held. */
export function evtchn_fifo_init_control(d: Domain, arg: usize): i64 {
  const vcpu = load<u32>(arg, EvtchnInitControl.vcpu);
  const offset = load<u32>(arg, EvtchnInitControl.offset);
  const v = domain_vcpu(d, vcpu);
  if (changetype<usize>(v) == 0) return -ERRNO.ENOENT;
  if (offset > 4096 - <u32>EvtchnFifoControlBlock.SIZE || (offset & 7) != 0) return -ERRNO.EINVAL;
  if (v.evtchn_fifo != 0 && load<u32>(v.evtchn_fifo, CB_MFN) != 0) return -ERRNO.EINVAL;
  const gfn = load<u64>(arg, EvtchnInitControl.control_gfn);
  let arrays = d.evtchn_fifo;
  if (arrays == 0) {
    arrays = alloc_xenheap_page();
    if (arrays == 0) return -ERRNO.ENOMEM;
  }
  const mfn = get_page_and_type_writable(d, gfn);
  if (mfn == 0) {
    if (d.evtchn_fifo == 0) free_xenheap_page(arrays);
    return -ERRNO.EINVAL;
  }
  const rc = setup_vcpu(v, mfn, offset);
  if (rc != 0) {
    put_page_and_type_writable(mfn);
    if (d.evtchn_fifo == 0) free_xenheap_page(arrays);
    return rc;
  }
  if (d.evtchn_fifo == 0) {
    // Channels that are pending by the 2-level bits are so in the new ABI too, as soon as their page is there.
    for (let port: u32 = 1; port < d.valid_evtchns && port < EVTCHN_2L_NR_CHANNELS; port++) {
      const chn = evtchn_from_port(d, port);
      chn.priority = <u8>EVTCHN_FIFO.PRIORITY_DEFAULT;
      chn.last_priority = <u8>EVTCHN_FIFO.PRIORITY_DEFAULT;
      chn.last_vcpu_id = chn.notify_vcpu_id;
      if (evtchn_2l_is_pending(d, port)) chn.pending = 1;
    }
    d.evtchn_fifo = arrays;
  }
  store<u8>(arg, EVTCHN_FIFO.LINK_BITS, EvtchnInitControl.link_bits);
  return 0;
}

/** EVTCHNOP_expand_array. evtchn_lock is held. */
export function evtchn_fifo_expand_array(d: Domain, gfn: u64): i64 {
  if (d.evtchn_fifo == 0) return -ERRNO.EOPNOTSUPP;
  const n = load<u32>(d.evtchn_fifo + ARRAY_COUNT);
  if (n >= MAX_ARRAY_PAGES) return -ERRNO.ENOSPC;
  const mfn = get_page_and_type_writable(d, gfn);
  if (mfn == 0) return -ERRNO.EINVAL;
  store<u32>(d.evtchn_fifo + (n << 2), mfn);
  // What the guest put there stays: it masks what it wants masked.
  atomic.store<u32>(d.evtchn_fifo + ARRAY_COUNT, n + 1);
  return 0;
}

/** After expand_array: the channels of the new page that became pending before it was there. Returns a vCPU to kick or null. */
export function evtchn_fifo_deliver_new(d: Domain, port: u32): Vcpu {
  if (!port_is_valid(d, port)) return changetype<Vcpu>(0);
  const chn = evtchn_from_port(d, port);
  if (!chn.pending) return changetype<Vcpu>(0);
  chn.pending = 0;
  const v = domain_vcpu(d, chn.notify_vcpu_id);
  return changetype<usize>(v) == 0 ? v : evtchn_fifo_set_pending(d, v, chn);
}

/** First port of the array page that was added last. */
export function evtchn_fifo_newest_port(d: Domain): u32 {
  return (load<u32>(d.evtchn_fifo + ARRAY_COUNT) - 1) * WORDS_PER_PAGE;
}

/** EVTCHNOP_set_priority. The channel's lock is held. */
export function evtchn_fifo_set_priority(d: Domain, chn: Evtchn, priority: u32): i64 {
  if (d.evtchn_fifo == 0) return -ERRNO.ENOSYS;
  if (priority > EVTCHN_FIFO.PRIORITY_MIN) return -ERRNO.EINVAL;
  // Takes effect when the channel is next linked.
  chn.priority = <u8>priority;
  return 0;
}

/** Gives the guest's pages back and returns to the 2-level ABI. Every channel is closed; evtchn_lock is held. */
export function evtchn_fifo_destroy(d: Domain): void {
  if (d.evtchn_fifo == 0) return;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) == 0 || v.evtchn_fifo == 0) continue;
    put_page_and_type_writable(load<u32>(v.evtchn_fifo, CB_MFN));
    free_xenheap_page(v.evtchn_fifo);
    v.evtchn_fifo = 0;
  }
  const n = load<u32>(d.evtchn_fifo + ARRAY_COUNT);
  for (let i: u32 = 0; i < n; i++) put_page_and_type_writable(load<u32>(d.evtchn_fifo + (i << 2)));
  free_xenheap_page(d.evtchn_fifo);
  d.evtchn_fifo = 0;
}
