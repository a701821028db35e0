// Where a PV kernel wants to be entered: set_trap_table, set_callbacks, callback_op, stack_switch, nmi_op.
import { CALLBACKF_mask_events, CALLBACKOP, CALLBACKTYPE, CallbackRegister, CallbackUnregister, ERRNO, FLAT, TrapInfo, VEC, VGCF, XENNMI } from "../abi";
import { Vcpu } from "../domain";
import { copy_from_guest } from "../guest";
import { current, scratch } from "../percpu";
import { TI_IF } from "./inject";
import { is_canonical } from "./segments";

export function fixup_guest_selector(sel: u32): u32 {
  return sel | 3;
}

/** Installs entries until one with address 0; a null table clears all. */
export function do_set_trap_table(traps: u64): i64 {
  const v = current;
  if (traps == 0) {
    memory.fill(v.trap_ctxt, 0, 256 * TrapInfo.SIZE);
    return 0;
  }
  // 256 vectors: a longer table can only overwrite itself.
  for (let i: u32 = 0; i < 256; i++) {
    if (copy_from_guest(scratch, traps, <u32>TrapInfo.SIZE) != 0) return -ERRNO.EFAULT;
    const address = load<u64>(scratch, TrapInfo.address);
    if (address == 0) return 0;
    if (!is_canonical(address)) return -ERRNO.EINVAL;
    store<u16>(scratch, fixup_guest_selector(load<u16>(scratch, TrapInfo.cs)), TrapInfo.cs);
    memory.copy(v.trap_ctxt + <usize>load<u8>(scratch, TrapInfo.vector) * TrapInfo.SIZE, scratch, TrapInfo.SIZE);
    traps += TrapInfo.SIZE;
  }
  return 0;
}

/** The flag bit of vgc_flags, or the vCPU's own word, that says whether a callback masks events. */
function set_vgc_flag(v: Vcpu, bit: u32, mask_events: bool): void {
  if (mask_events) v.vgc_flags |= bit;
  else v.vgc_flags &= ~bit;
}

/** Old form: event, failsafe and syscall at once. */
export function do_set_callbacks(event: u64, failsafe: u64, syscall: u64): i64 {
  const v = current;
  if (!is_canonical(event) || !is_canonical(failsafe) || !is_canonical(syscall)) return -ERRNO.EINVAL;
  v.event_callback = event;
  v.failsafe_callback = failsafe;
  v.syscall_callback = syscall;
  return 0;
}

function set_callback(v: Vcpu, type: u32, flags: u32, address: u64): i64 {
  const mask = (flags & CALLBACKF_mask_events) != 0;
  switch (type) {
    case CALLBACKTYPE.event:
      v.event_callback = address;
      return 0;
    case CALLBACKTYPE.failsafe:
      v.failsafe_callback = address;
      set_vgc_flag(v, VGCF.failsafe_disables_events, mask);
      return 0;
    case CALLBACKTYPE.syscall:
      v.syscall_callback = address;
      set_vgc_flag(v, VGCF.syscall_disables_events, mask);
      return 0;
    case CALLBACKTYPE.syscall32:
      v.syscall32_callback = address;
      v.syscall32_disables_events = mask ? 1 : 0;
      return 0;
    case CALLBACKTYPE.sysenter:
      v.sysenter_callback = address;
      v.sysenter_disables_events = mask ? 1 : 0;
      return 0;
    case CALLBACKTYPE.nmi:
      return register_nmi(v, address);
    default:
      return -ERRNO.ENOSYS;
  }
}

/** Another way to fill the trap table's entry for NMIs, where PV Linux has put its handler already. 0: there is none. */
function register_nmi(v: Vcpu, address: u64): i64 {
  if (!is_canonical(address)) return -ERRNO.EINVAL;
  const entry = v.trap_ctxt + <usize>VEC.NMI * TrapInfo.SIZE;
  memory.fill(entry, 0, TrapInfo.SIZE);
  if (address == 0) return 0;
  store<u8>(entry, VEC.NMI, TrapInfo.vector);
  store<u8>(entry, TI_IF, TrapInfo.flags);
  store<u16>(entry, FLAT.KERNEL_CS, TrapInfo.cs);
  store<u64>(entry, address, TrapInfo.address);
  return 0;
}

export function do_callback_op(cmd: u32, arg: u64): i64 {
  const v = current;
  if (cmd == CALLBACKOP.register) {
    if (copy_from_guest(scratch, arg, <u32>CallbackRegister.SIZE) != 0) return -ERRNO.EFAULT;
    const address = load<u64>(scratch, CallbackRegister.address);
    if (!is_canonical(address)) return -ERRNO.EINVAL;
    return set_callback(v, load<u16>(scratch, CallbackRegister.type), load<u16>(scratch, CallbackRegister.flags), address);
  }
  if (cmd == CALLBACKOP.unregister) {
    if (copy_from_guest(scratch, arg, <u32>CallbackUnregister.SIZE) != 0) return -ERRNO.EFAULT;
    switch (<u32>load<u16>(scratch, CallbackUnregister.type)) {
      // These a PV kernel cannot do without.
      case CALLBACKTYPE.event:
      case CALLBACKTYPE.failsafe:
      case CALLBACKTYPE.syscall:
        return -ERRNO.EINVAL;
      case CALLBACKTYPE.syscall32:
      case CALLBACKTYPE.sysenter:
      case CALLBACKTYPE.nmi:
        return set_callback(v, load<u16>(scratch, CallbackUnregister.type), 0, 0);
      default:
        return -ERRNO.ENOSYS;
    }
  }
  return -ERRNO.ENOSYS;
}

export function do_nmi_op(cmd: u32, arg: u64): i64 {
  switch (cmd) {
    case XENNMI.register_callback:
      if (copy_from_guest(scratch, arg, 8) != 0) return -ERRNO.EFAULT;
      return register_nmi(current, load<u64>(scratch));
    case XENNMI.unregister_callback:
      return register_nmi(current, 0);
    default:
      return -ERRNO.ENOSYS;
  }
}

/** Kernel stack for entries from user mode. */
export function do_stack_switch(ss: u64, esp: u64): i64 {
  current.kernel_ss = fixup_guest_selector(<u32>ss & 0xffff);
  current.kernel_sp = esp;
  return 0;
}
