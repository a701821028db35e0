// What an HVM vCPU is to be interrupted by (Xen's hvm/irq.c): an NMI, the event-channel upcall, or the local APIC's highest interrupt,
// in this order.
import { CpuState, EVENT, RFLAGS, VEC, VcpuInfo } from "../abi";
import { Vcpu } from "../domain";
import { vcpu_kick } from "../sched/sched";
import { hvm_deliver } from "./inject";
import { hvm_vcpu } from "./vcpu";
import { vlapic_ack_pending_irq, vlapic_has_pending_irq, vlapic_set_irq, vlapic_waits_for_tpr } from "./vlapic";

/** Where an interrupt comes from, in bits 8 and up of what hvm_vcpu_has_pending_irq gives; its vector is below. */
const SOURCE_NMI: u32 = 0x100;
const SOURCE_VECTOR: u32 = 0x200;
const SOURCE_LAPIC: u32 = 0x300;

/** The first that waits, 0: none. */
function hvm_vcpu_has_pending_irq(v: Vcpu): u32 {
  if (v.nmi_pending) return SOURCE_NMI | VEC.NMI;
  const callback = v.domain.callback_vector;
  if (callback != 0 && atomic.load<u8>(v.vcpu_info + VcpuInfo.evtchn_upcall_pending) != 0) return SOURCE_VECTOR | callback;
  const vector = vlapic_has_pending_irq(v);
  return vector < 0 ? 0 : SOURCE_LAPIC | <u32>vector;
}

/** RFLAGS.IF is not among the flags that are evaluated lazily. */
// @ts-ignore: decorator
@inline
function interrupts_enabled(v: Vcpu): bool {
  return (load<u64>(v.cpu, CpuState.rflags) & <u64>RFLAGS.IF) != 0;
}

/** Would the vCPU take one now? (The upcall mask is a PV guest's.) */
export function hvm_local_events_need_delivery(v: Vcpu): bool {
  const pending = hvm_vcpu_has_pending_irq(v);
  return pending != 0 && (interrupts_enabled(v) || pending < SOURCE_VECTOR);
}

/** Before guest code: delivers the first that waits, or has the engine say when it can be. */
export function hvm_intr_assist(v: Vcpu): void {
  const pending = hvm_vcpu_has_pending_irq(v);
  const wanted = v.cpu + CpuState.irq_wanted;
  if (pending == 0) {
    store<u32>(wanted, vlapic_waits_for_tpr(v) ? 1 : 0);
    return;
  }
  if (pending >= SOURCE_VECTOR && !interrupts_enabled(v)) {
    store<u32>(wanted, 1);
    return;
  }
  if (pending < SOURCE_VECTOR) v.nmi_pending = 0;
  if (!hvm_deliver(v, pending & 0xff, EVENT.INTERRUPT, 0, 0)) return;
  if (pending >= SOURCE_LAPIC) vlapic_ack_pending_irq(v, pending & 0xff);
  // The upcall stays pending until the guest has cleared it, which it does before it takes interrupts again.
  store<u32>(wanted, vlapic_has_pending_irq(v) < 0 ? 0 : 1);
}

/** Events have become pending for v: through its own vector, if it has one, else it looks at the callback vector when kicked. */
export function hvm_assert_evtchn_irq(v: Vcpu): void {
  const vector = hvm_vcpu(v).evtchn_upcall_vector;
  if (vector != 0) vlapic_set_irq(v, vector, false);
  else vcpu_kick(v);
}
