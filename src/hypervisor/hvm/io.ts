// Port I/O of an HVM guest: a PVH domain has no devices, so that reads give ones and writes go nowhere, but for Xen's debug port.
import { CpuState, GPR, IO_IN } from "../abi";
import { Vcpu, get_gpr, set_gpr } from "../domain";
import { console_putc } from "../hypercalls/console_io";

/** Writes of a byte go to the hypervisor's log (hvmloader, and Linux' early console). */
const DEBUG_PORT: u32 = 0xe9;

/** The instruction at rip does it; the caller moves rip. */
export function hvm_io(v: Vcpu): void {
  const cpu = v.cpu;
  const what = load<u32>(cpu, CpuState.exit_error);
  const rax = get_gpr(v, GPR.RAX);
  if (what & IO_IN) {
    switch (what & ~IO_IN) {
      case 1:
        set_gpr(v, GPR.RAX, rax | 0xff);
        break;
      case 2:
        set_gpr(v, GPR.RAX, rax | 0xffff);
        break;
      default:
        set_gpr(v, GPR.RAX, 0xffff_ffff);
    }
  } else if (what == 1 && load<u32>(cpu, CpuState.exit_vector) == DEBUG_PORT) console_putc(v.domain, <u32>rax & 0xff);
}
