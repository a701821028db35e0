// Runstate accounting and the guest's copy of it (public/vcpu.h).
import { current, scratch } from "../percpu";
import { RUNSTATE_UPDATE, VMASST_TYPE, VcpuRunstateInfo } from "../abi";
import { Vcpu, guest_kernel_mode } from "../domain";
import { guest_write } from "../engine";
import { guest_handle_okay } from "../guest";

// @ts-ignore: decorator
@inline
function time_at(v: Vcpu, state: u32): usize {
  return changetype<usize>(v) + offsetof<Vcpu>("runstate_time0") + (state << 3);
}

/** Ends the present state at `now` and starts `state`. The scheduler's lock is held, or v is not running yet. */
export function vcpu_runstate_change(v: Vcpu, state: u32, now: u64): void {
  const since = v.runstate_entry_time;
  if (now > since) store<u64>(time_at(v, v.runstate), load<u64>(time_at(v, v.runstate)) + (now - since));
  v.runstate_entry_time = now;
  v.runstate = state;
}

/** Fills a vcpu_runstate_info at machine address `at` with times up to `now`. */
export function vcpu_runstate_get(v: Vcpu, at: usize, now: u64): void {
  store<i32>(at, v.runstate, VcpuRunstateInfo.state);
  store<u32>(at + VcpuRunstateInfo.state + 4, 0);
  store<u64>(at, v.runstate_entry_time, VcpuRunstateInfo.state_entry_time);
  for (let i: u32 = 0; i < 4; i++) store<u64>(at + VcpuRunstateInfo.time + (i << 3), load<u64>(time_at(v, i)));
  if (now > v.runstate_entry_time) {
    const t = at + VcpuRunstateInfo.time + (v.runstate << 3);
    store<u64>(t, load<u64>(t) + (now - v.runstate_entry_time));
  }
}

/** Nanoseconds it has run. */
export function vcpu_cpu_time(v: Vcpu, now: u64): u64 {
  let t = v.runstate_time0;
  if (v.runstate == 0 && now > v.runstate_entry_time) t += now - v.runstate_entry_time;
  return t;
}

/** Writes the guest's runstate area; false if it cannot be reached now (the guest is in user mode). */
export function update_runstate_area(v: Vcpu): bool {
  const at = v.runstate_guest;
  if (at == 0) return true;
  if (v != current || !guest_kernel_mode(v)) return false;
  if (!guest_handle_okay(at, <u32>VcpuRunstateInfo.SIZE)) return true;
  const s = scratch + 1088;
  store<i32>(s, v.runstate, VcpuRunstateInfo.state);
  store<u32>(s + 4, 0);
  memory.copy(s + VcpuRunstateInfo.time, changetype<usize>(v) + offsetof<Vcpu>("runstate_time0"), 32);
  const flag = (v.domain.vm_assist >> VMASST_TYPE.runstate_update_flag) & 1;
  let entry = v.runstate_entry_time;
  const entry_at = at + <u64>VcpuRunstateInfo.state_entry_time;
  if (flag) {
    // The guest must see bit 63 for as long as the rest may be half written.
    entry |= RUNSTATE_UPDATE;
    store<u64>(s, entry, VcpuRunstateInfo.state_entry_time);
    if (guest_write(v.cpu, entry_at, s + VcpuRunstateInfo.state_entry_time, 8) != 0) return false;
  }
  store<u64>(s, entry, VcpuRunstateInfo.state_entry_time);
  if (guest_write(v.cpu, at, s, <u32>VcpuRunstateInfo.SIZE) != 0) return false;
  if (flag) {
    store<u64>(s, v.runstate_entry_time, VcpuRunstateInfo.state_entry_time);
    if (guest_write(v.cpu, entry_at, s + VcpuRunstateInfo.state_entry_time, 8) != 0) return false;
  }
  return true;
}
