// ins and outs of a PV guest, with rep. Each iteration is complete before the next: a fault leaves rcx, rsi and rdi at
// the iteration that faulted (Intel SDM vol. 2, INS, OUTS, REP).
import { CpuState, GPR, RFLAGS, SEG } from "../abi";
import { Vcpu, get_gpr, set_gpr } from "../domain";
import { guest_read, guest_write } from "../engine";
import { scratch } from "../percpu";
import { Insn } from "./emul-priv-op";
import { pv_inject_page_fault } from "./inject";
import { guest_io_okay, guest_io_read, guest_io_write } from "./ioport";
import { get_base } from "./segments";

/** Iterations before the vCPU looks for events again. */
const REP_MAX: u32 = 256;
const PFEC_write: u32 = 2;
const AT: u32 = 1360;

/** 0: not allowed (#GP); 1: rip stays (a fault was injected, or more iterations are to come); 2: done. */
export function emulate_string_io(v: Vcpu, i: Insn, op: u32): u32 {
  const bytes: u32 = op & 1 ? (i.opsize16 ? 2 : 4) : 1;
  const port = <u32>get_gpr(v, GPR.RDX) & 0xffff;
  if (!guest_io_okay(v, port, bytes)) return 0;
  const out = (op & 2) != 0;
  const mask: u64 = i.address32 ? 0xffff_ffff : u64.MAX_VALUE;
  const step: u64 = load<u64>(v.cpu, CpuState.rflags) & <u64>RFLAGS.DF ? -(<u64>bytes) : bytes;
  const index: u32 = out ? GPR.RSI : GPR.RDI;
  const seg: u32 = out ? (i.segment >= 0 ? <u32>i.segment : SEG.DS) : SEG.ES;
  for (let n: u32 = 0; n < REP_MAX; n++) {
    if (i.rep && (get_gpr(v, GPR.RCX) & mask) == 0) return 2;
    const offset = get_gpr(v, index) & mask;
    const va = get_base(v, seg) + offset;
    if (out) {
      const left = guest_read(v.cpu, va, scratch + AT, bytes);
      if (left != 0) {
        pv_inject_page_fault(0, va + <u64>(bytes - left));
        return 1;
      }
      guest_io_write(v, port, bytes, bytes == 4 ? load<u32>(scratch + AT) : bytes == 2 ? load<u16>(scratch + AT) : load<u8>(scratch + AT));
    } else {
      store<u32>(scratch + AT, guest_io_read(v, port, bytes));
      const left = guest_write(v.cpu, va, scratch + AT, bytes);
      if (left != 0) {
        pv_inject_page_fault(PFEC_write, va + <u64>(bytes - left));
        return 1;
      }
    }
    set_gpr(v, index, (get_gpr(v, index) & ~mask) | ((offset + step) & mask));
    if (!i.rep) return 2;
    set_gpr(v, GPR.RCX, (get_gpr(v, GPR.RCX) & ~mask) | ((get_gpr(v, GPR.RCX) - 1) & mask));
  }
  return 1;
}
