// One event channel, and where a domain keeps them: evtchn_group is a page of u32 addresses of buckets, a bucket is a
// page of 128 channels; both are made when a port in them is first given.
import { Domain } from "../domain";
import { alloc_xenheap_page } from "../mm/heap";
import { LOCK_event_channel } from "../locks";
import { spin_lock_init } from "../spinlock";

/** Evtchn.state; those a guest sees are EVTCHNSTAT_* (public/event_channel.h). */
export const ECS_FREE: u32 = 0;
export const ECS_RESERVED: u32 = 1;
export const ECS_UNBOUND: u32 = 2;
export const ECS_INTERDOMAIN: u32 = 3;
export const ECS_VIRQ: u32 = 5;
export const ECS_IPI: u32 = 6;

@unmanaged
export class Evtchn {
  /** Guards the fields below, with Domain.evtchn_lock for changes of state (spinlock.ts). */
  lock: u64;
  state: u8;
  /** FIFO: priority now, and of the queue it was last linked on. */
  priority: u8;
  last_priority: u8;
  /** Sent to while the FIFO word was not there yet. */
  pending: u8;
  notify_vcpu_id: u16;
  last_vcpu_id: u16;
  port: u32;
  /** Unbound: who may bind. Interdomain: remote domid. VIRQ: its number. */
  remote_domid: u32;
  /** Interdomain: the remote port. */
  remote_port: u32;
  /** Interdomain: the remote domain. It cannot go away while it has this channel: it closes it first. */
  remote_dom: Domain;
}

const EVTCHN_SIZE: u32 = 32;
const PER_BUCKET: u32 = 128;
const BUCKET_SHIFT: u32 = 7;
/** Ports that the group page can hold; also the FIFO ABI's limit. */
export const MAX_NR_EVTCHNS: u32 = 1024 * PER_BUCKET;

/** Does the port exist in d's table? (It may be free.) */
export function port_is_valid(d: Domain, port: u32): bool {
  return port < atomic.load<u32>(changetype<usize>(d) + offsetof<Domain>("valid_evtchns"));
}

/** The channel of a valid port. */
export function evtchn_from_port(d: Domain, port: u32): Evtchn {
  const bucket = load<u32>(d.evtchn_group + ((port >> BUCKET_SHIFT) << 2));
  return changetype<Evtchn>(bucket + (port & (PER_BUCKET - 1)) * EVTCHN_SIZE);
}

/** Makes the bucket that begins at port valid_evtchns. False: no memory. evtchn_lock is held. */
export function grow_evtchns(d: Domain): bool {
  const first = d.valid_evtchns;
  if (d.evtchn_group == 0) {
    d.evtchn_group = alloc_xenheap_page();
    if (d.evtchn_group == 0) return false;
  }
  const bucket = alloc_xenheap_page();
  if (bucket == 0) return false;
  for (let i: u32 = 0; i < PER_BUCKET; i++) {
    const chn = changetype<Evtchn>(bucket + i * EVTCHN_SIZE);
    chn.port = first + i;
    spin_lock_init(changetype<usize>(chn), LOCK_event_channel);
  }
  store<u32>(d.evtchn_group + ((first >> BUCKET_SHIFT) << 2), bucket);
  atomic.store<u32>(changetype<usize>(d) + offsetof<Domain>("valid_evtchns"), first + PER_BUCKET);
  return true;
}
