// Debug keys (`xl debug-keys`, sysctl debug_keys): each writes something about the machine into the log, in the words of
// Xen's common/keyhandler.c, event_channel.c and page_alloc.c. A key that nothing is installed for does nothing, as in Xen.
import { VIRQ, VcpuInfo } from "./abi";
import { Domain, Vcpu, domain_vcpu, is_null } from "./domain";
import { get_domain_from, put_domain } from "./domain_list";
import { chn_lock, evtchn_is_masked, evtchn_is_pending, evtchn_lock } from "./evtchn/evtchn";
import { ECS_FREE, ECS_INTERDOMAIN, ECS_UNBOUND, ECS_VIRQ, evtchn_from_port, port_is_valid } from "./evtchn/struct";
import { send_guest_vcpu_virq } from "./evtchn/virq";
import { log_char, log_dec, log_end, log_hex, log_signed, log_start, log_str, log_text } from "./log";
import { free_frames } from "./mm/heap";
import { spin_lock, spin_unlock } from "./spinlock";
import { NOW } from "./time/clock";

const KEY_HEAP: u32 = 0x48; // H
const KEY_EVTCHN: u32 = 0x65; // e
const KEY_HELP: u32 = 0x68; // h
const KEY_DOMAINS: u32 = 0x71; // q

export function handle_keypress(key: u32): void {
  switch (key) {
    case KEY_HEAP: return dump_heap();
    case KEY_EVTCHN: return dump_evtchn_info();
    case KEY_HELP: return show_handlers();
    case KEY_DOMAINS: return dump_domains();
  }
}

function pressed(key: u32, what: string): void {
  log_start();
  log_char(39);
  log_char(key);
  log_str("' pressed -> ");
  log_str(what);
}

function handler(key: u32, description: string): void {
  log_start();
  log_str(" key '");
  log_char(key);
  log_str("' (ascii '");
  log_hex(key, 2);
  log_str("') => ");
  log_str(description);
  log_end();
}

function show_handlers(): void {
  pressed(KEY_HELP, "showing installed handlers");
  log_end();
  handler(KEY_HEAP, "dump heap info");
  handler(KEY_EVTCHN, "dump evtchn info");
  handler(KEY_HELP, "show this message");
  handler(KEY_DOMAINS, "dump domain (and guest debug) info");
}

function log_now(): void {
  log_str(" (now = ");
  log_dec(NOW());
  log_str(")");
  log_end();
}

/** There is one node, of one zone. */
function dump_heap(): void {
  pressed(KEY_HEAP, "dumping heap info");
  log_now();
  log_start();
  log_str("heap[node=0][zone=0] -> ");
  log_dec(free_frames());
  log_str(" pages");
  log_end();
}

/** The domain after `d` with a reference; drops the one on `d`. */
function next_domain(d: Domain): Domain {
  const id = d.domid + 1;
  put_domain(d);
  return get_domain_from(id);
}

function dump_domains(): void {
  pressed(KEY_DOMAINS, "dumping domain info");
  log_now();
  for (let d = get_domain_from(0); !is_null(d); d = next_domain(d)) {
    dump_domain(d);
    for (let i: u32 = 0; i < d.max_vcpus; i++) {
      const v = domain_vcpu(d, i);
      if (!is_null(v)) dump_vcpu(v);
    }
  }
  for (let d = get_domain_from(0); !is_null(d); d = next_domain(d)) {
    for (let i: u32 = 0; i < d.max_vcpus; i++) {
      const v = domain_vcpu(d, i);
      if (!is_null(v)) notify_debug(v);
    }
  }
}

function dump_domain(d: Domain): void {
  log_start();
  log_str("General information for domain ");
  log_dec(d.domid);
  log_str(":");
  log_end();
  log_start();
  log_str("    refcnt=");
  log_dec(d.refcnt);
  log_str(" dying=");
  log_dec(d.is_dying);
  log_str(" pause_count=");
  log_dec(d.pause_count);
  log_end();
  log_start();
  log_str("    nr_pages=");
  log_dec(d.tot_pages);
  log_str(" xenheap_pages=");
  log_dec(d.xenheap_pages);
  log_str(" max_pages=");
  log_dec(d.max_pages);
  log_end();
  log_start();
  log_str("    handle=");
  for (let i: usize = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) log_str("-");
    log_hex(load<u8>(changetype<usize>(d) + offsetof<Domain>("handle_lo") + i), 2);
  }
  log_str(" vm_assist=");
  log_hex(d.vm_assist, 8);
  log_end();
  log_start();
  log_str("NODE affinity for domain ");
  log_dec(d.domid);
  log_str(": [0]");
  log_end();
  log_start();
  log_str("VCPU information and callbacks for domain ");
  log_dec(d.domid);
  log_str(":");
  log_end();
}

function dump_vcpu(v: Vcpu): void {
  log_start();
  log_str("    VCPU");
  log_dec(v.vcpu_id);
  log_str(": CPU");
  log_dec(v.processor);
  log_str(v.is_running ? " [has=T] poll=" : " [has=F] poll=");
  log_signed(v.poll_evtchn);
  log_str(" upcall_pend=");
  log_hex(load<u8>(v.vcpu_info, VcpuInfo.evtchn_upcall_pending), 2);
  log_str(" upcall_mask=");
  log_hex(load<u8>(v.vcpu_info, VcpuInfo.evtchn_upcall_mask), 2);
  log_end();
  log_start();
  log_str("    pause_count=");
  log_dec(v.pause_count);
  log_str(" pause_flags=");
  log_hex(v.pause_flags);
  log_end();
  if (v.periodic_period == 0) {
    log_text("    No periodic timer");
    return;
  }
  log_start();
  log_str("    ");
  log_dec(1_000_000_000 / v.periodic_period);
  log_str(" Hz periodic timer (period ");
  log_dec(v.periodic_period / 1_000_000);
  log_str(" ms)");
  log_end();
}

/** A guest's kernel may show its own state then. */
function notify_debug(v: Vcpu): void {
  log_start();
  log_str("Notifying guest ");
  log_dec(v.domain.domid);
  log_str(":");
  log_dec(v.vcpu_id);
  log_str(" (virq ");
  log_dec(VIRQ.DEBUG);
  log_str(", port ");
  log_dec(load<u32>(v.virq_to_evtchn + (<usize>VIRQ.DEBUG << 2)));
  log_str(")");
  log_end();
  send_guest_vcpu_virq(v, VIRQ.DEBUG);
}

function dump_evtchn_info(): void {
  pressed(KEY_EVTCHN, "dumping event-channel info");
  log_end();
  for (let d = get_domain_from(0); !is_null(d); d = next_domain(d)) {
    log_start();
    log_str("Event channel information for domain ");
    log_dec(d.domid);
    log_str(":");
    log_end();
    log_text("    port [p/m]");
    for (let port: u32 = 1; port_is_valid(d, port); port++) dump_port(d, port);
  }
}

/** Looks under the channel's locks, and writes without them: the host is not called under one. */
function dump_port(d: Domain, port: u32): void {
  spin_lock(evtchn_lock(d));
  const chn = evtchn_from_port(d, port);
  spin_lock(chn_lock(chn));
  const state: u32 = chn.state;
  const vcpu: u32 = chn.notify_vcpu_id;
  const remote = state == ECS_INTERDOMAIN ? chn.remote_dom.domid : chn.remote_domid;
  const remote_port = chn.remote_port;
  const used = state != ECS_FREE;
  const pending = used && evtchn_is_pending(d, port);
  const masked = used && evtchn_is_masked(d, port);
  spin_unlock(chn_lock(chn));
  spin_unlock(evtchn_lock(d));
  if (!used) return;
  log_start();
  log_str("    ");
  for (let limit: u32 = 1000; limit > 1 && port < limit; limit /= 10) log_str(" ");
  log_dec(port);
  log_str(" [");
  log_dec(pending);
  log_str("/");
  log_dec(masked);
  log_str("]: s=");
  log_dec(state);
  log_str(" n=");
  log_dec(vcpu);
  log_str(" x=0");
  if (state == ECS_UNBOUND || state == ECS_INTERDOMAIN) {
    log_str(" d=");
    log_dec(remote);
  }
  if (state == ECS_INTERDOMAIN) {
    log_str(" p=");
    log_dec(remote_port);
  }
  if (state == ECS_VIRQ) {
    log_str(" v=");
    log_dec(remote);
  }
  log_end();
}
