// domain_crash: the guest broke its own state. Its registers and the top of its stack go to the log once, and the
// domain is shut down with code "crash"; nothing else suffers.
import { CpuState, SEG, SHUTDOWN } from "./abi";
import { Domain, Vcpu, in_kernel_mode } from "./domain";
import { current, scratch } from "./percpu";
import { log_dec, log_end, log_field, log_hex, log_start, log_str } from "./log";
import { guest_read, rflags_get } from "./engine";
import { domain_shutdown } from "./shutdown";

/** Stops d with SHUTDOWN_crash. `why` is a string literal. Called without locks. */
export function domain_crash(d: Domain, why: string): void {
  const first = atomic.xchg<u32>(changetype<usize>(d) + offsetof<Domain>("crash_reported"), 1) == 0;
  if (first) {
    log_start();
    log_str("Domain ");
    log_dec(d.domid);
    if (current.domain == d) {
      log_str(" (vcpu#");
      log_dec(current.vcpu_id);
      log_str(")");
    }
    log_str(" crashed: ");
    log_str(why);
    log_end();
    if (current.domain == d && !d.is_ts) show_registers(current);
  }
  domain_shutdown(d, SHUTDOWN.crash);
}

function reg(v: Vcpu, name: string, n: u32): void {
  log_str("  ");
  log_str(name);
  log_str(": ");
  log_hex(load<u64>(v.cpu + CpuState.gpr + (<usize>n << 3)), 16);
}

function sel(v: Vcpu, name: string, n: u32): void {
  log_str("  ");
  log_str(name);
  log_str(": ");
  log_hex(load<u16>(v.cpu + CpuState.sel + (<usize>n << 1)), 4);
}

/** Registers and stack of a vCPU, as Xen prints them. */
export function show_registers(v: Vcpu): void {
  const cpu = v.cpu;
  log_start();
  log_str("----[ Xenolith  x86_64 ]----  CPU: ");
  log_dec(v.processor);
  log_end();
  log_start();
  log_str("RIP:    ");
  log_hex(load<u16>(cpu + CpuState.sel + (SEG.CS << 1)), 4);
  log_str(":[<");
  log_hex(load<u64>(cpu, CpuState.rip), 16);
  log_str(">]");
  log_end();
  log_start();
  log_str("RFLAGS: ");
  log_hex(rflags_get(cpu), 16);
  if (v.domain.is_hvm) log_str("   CONTEXT: hvm guest (d");
  else log_str(in_kernel_mode(v) ? "   CONTEXT: pv guest kernel (d" : "   CONTEXT: pv guest user (d");
  log_dec(v.domain.domid);
  log_str("v");
  log_dec(v.vcpu_id);
  log_str(")");
  log_end();
  log_start();
  reg(v, "rax", 0);
  reg(v, "rbx", 3);
  reg(v, "rcx", 1);
  log_end();
  log_start();
  reg(v, "rdx", 2);
  reg(v, "rsi", 6);
  reg(v, "rdi", 7);
  log_end();
  log_start();
  reg(v, "rbp", 5);
  reg(v, "rsp", 4);
  reg(v, "r8 ", 8);
  log_end();
  log_start();
  reg(v, "r9 ", 9);
  reg(v, "r10", 10);
  reg(v, "r11", 11);
  log_end();
  log_start();
  reg(v, "r12", 12);
  reg(v, "r13", 13);
  reg(v, "r14", 14);
  log_end();
  log_start();
  reg(v, "r15", 15);
  log_field(" cr0", load<u64>(cpu, CpuState.cr0));
  log_field(" cr3", v.domain.is_hvm ? load<u64>(cpu, CpuState.guest_cr3) : load<u64>(cpu, CpuState.cr3));
  log_field(" cr2", load<u64>(cpu, CpuState.cr2));
  log_end();
  log_start();
  log_field("fsb", load<u64>(cpu + CpuState.segbase + (SEG.FS << 3)));
  log_field("gsb", load<u64>(cpu + CpuState.segbase + (SEG.GS << 3)));
  if (v.domain.is_hvm) log_field("gss", load<u64>(cpu, CpuState.kernel_gs_base));
  else log_field("gss", in_kernel_mode(v) ? v.gs_base_user : v.gs_base_kernel);
  log_end();
  log_start();
  sel(v, "ds", SEG.DS);
  sel(v, "es", SEG.ES);
  sel(v, "fs", SEG.FS);
  sel(v, "gs", SEG.GS);
  sel(v, "ss", SEG.SS);
  sel(v, "cs", SEG.CS);
  log_end();
  show_stack(v);
}

/** The 8 lines of words from rsp up, as far as they are mapped. */
function show_stack(v: Vcpu): void {
  const rsp = load<u64>(v.cpu + CpuState.gpr + (4 << 3));
  log_start();
  log_str("Guest stack trace from rsp=");
  log_hex(rsp, 16);
  log_str(":");
  log_end();
  for (let line: u32 = 0; line < 8; line++) {
    log_start();
    for (let i: u32 = 0; i < 4; i++) {
      if (guest_read(v.cpu, rsp + <u64>((line * 4 + i) << 3), scratch, 8) != 0) {
        log_str("   (unreadable)");
        log_end();
        return;
      }
      log_str("   ");
      log_hex(load<u64>(scratch), 16);
    }
    log_end();
  }
}
