/** Helpers of system and atomic instructions: the clock, random numbers, cmpxchg16b, enter. */
import { AreaHeader, CpuState, GPR, MACHINE_INFO_ADDRESS, MachineInfo, RENDEZVOUS, VEC } from '../../../build/abi/engine';
import { gpr, set_gpr } from './gpr';
import { bounce_again, commit, probe_read, probe_write, raise, rendezvous } from './mmu';
import { area } from './percpu';

/** The host's monotonic clock in ns. */
@external("host", "now")
declare function host_now(): i64;
/** 64 random bits. */
@external("host", "random")
declare function host_random(): i64;
/** Gets the other pCPUs out of guest code and keeps them out; 0: another pCPU is doing so. */
@external("host", "stop_others")
declare function host_stop_others(): u32;
/** Lets them in again. */
@external("host", "resume_others")
declare function host_resume_others(): void;

/** The guest's time stamp counter: machine time scaled to MachineInfo.tsc_khz, and the vCPU's offset. */
export function rdtsc(cpu: usize): u64 {
  const ns = <u64>host_now() - load<u64>(MACHINE_INFO_ADDRESS, MachineInfo.boot_ns);
  const khz = <u64>load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.tsc_khz);
  // By milliseconds, so that no product overflows: the hypervisor computes the same (vcpu_time_info).
  const ticks = khz == 1_000_000 ? ns : (ns / 1_000_000) * khz + ((ns % 1_000_000) * khz) / 1_000_000;
  return ticks + load<u64>(cpu, CpuState.tsc_offset);
}

export function rdrand(cpu: usize): u64 {
  return <u64>host_random();
}

/**
 * Begins an access that no other vCPU may see half done and that wasm has no atomic for: `h` is where probe_write found its
 * bytes. Every other pCPU is out of guest code until exclusive_end. False: another pCPU is at it, the instruction is to be
 * executed again (EXIT.RENDEZVOUS).
 */
export function exclusive_begin(cpu: usize, h: u32): u32 {
  if (!load<u32>(area, AreaHeader.shared)) return 1;
  if (!host_stop_others()) {
    rendezvous(cpu, RENDEZVOUS.EXCLUSIVE, 0);
    return 0;
  }
  if (h == <u32>cpu + <u32>CpuState.bounce) bounce_again(cpu);
  return 1;
}

export function exclusive_end(cpu: usize): void {
  if (load<u32>(area, AreaHeader.shared)) host_resume_others();
}

/** cmpxchg16b with the lock prefix. */
export function cmpxchg16b_locked(cpu: usize, addr: u64): u32 {
  const h = probe16(cpu, addr);
  if (!h || !exclusive_begin(cpu, h)) return 0;
  compare_and_exchange16(cpu, h);
  exclusive_end(cpu);
  return 1;
}

/**
 * Compare rdx:rax with 16 bytes of memory; equal: rcx:rbx is stored and ret0 = 0, else rdx:rax is loaded and ret0 = 1.
 * Returns 0 with the fault recorded.
 */
export function cmpxchg16b(cpu: usize, addr: u64): u32 {
  const h = probe16(cpu, addr);
  if (!h) return 0;
  compare_and_exchange16(cpu, h);
  return 1;
}

function probe16(cpu: usize, addr: u64): u32 {
  if (addr & 15) {
    raise(cpu, VEC.GP, 1, 0);
    return 0;
  }
  return probe_write(cpu, addr, 16);
}

function compare_and_exchange16(cpu: usize, h: u32): void {
  const lo = load<u64>(h);
  const hi = load<u64>(h, 8);
  if (lo == gpr(cpu, GPR.RAX) && hi == gpr(cpu, GPR.RDX)) {
    store<u64>(h, gpr(cpu, GPR.RBX));
    store<u64>(h, gpr(cpu, GPR.RCX), 8);
    store<u64>(cpu, 0, CpuState.ret0);
  } else {
    set_gpr(cpu, GPR.RAX, lo);
    set_gpr(cpu, GPR.RDX, hi);
    store<u64>(cpu, 1, CpuState.ret0);
  }
}

@inline function load_sized(h: u32, bytes: u32): u64 {
  return bytes == 8 ? load<u64>(h) : bytes == 4 ? load<u32>(h) : load<u16>(h);
}

/** One push of enter at `sp` (already moved down). */
function push_at(cpu: usize, sp: u64, bytes: u32, v: u64): bool {
  const h = probe_write(cpu, sp, bytes);
  if (!h) return false;
  if (bytes == 8) store<u64>(h, v);
  else if (bytes == 4) store<u32>(h, <u32>v);
  else store<u16>(h, <u16>v);
  if (h == <u32>cpu + <u32>CpuState.bounce) commit(cpu);
  return true;
}

/**
 * enter with nesting level 1..31: a new frame with copies of the outer frames' pointers, then `size` bytes. The copies may
 * lie over what is copied, so that nothing is written unless all can be: after a fault it is done again from the start.
 */
export function enter(cpu: usize, bytes: u32, size: u64, level: u32): u32 {
  const mask: u64 = load<u32>(cpu, CpuState.mode) == 0 ? u64.MAX_VALUE : 0xffffffff;
  const rbp = gpr(cpu, GPR.RBP);
  let sp = (gpr(cpu, GPR.RSP) - bytes) & mask;
  const frame = sp;
  const top = sp - (<u64>level * bytes + size);
  for (let i: u32 = 0; i <= level; i++) if (!probe_write(cpu, (sp - <u64>i * bytes) & mask, bytes)) return 0;
  for (let i: u32 = 1; i < level; i++) if (!probe_read(cpu, (rbp - <u64>i * bytes) & mask, bytes)) return 0;
  if (!probe_write(cpu, top & mask, bytes)) return 0;
  if (!push_at(cpu, sp, bytes, rbp)) return 0;
  let from = rbp;
  for (let i: u32 = 1; i < level; i++) {
    from = (from - bytes) & mask;
    const h = probe_read(cpu, from, bytes);
    if (!h) return 0;
    const v = load_sized(h, bytes);
    sp = (sp - bytes) & mask;
    if (!push_at(cpu, sp, bytes, v)) return 0;
  }
  sp = (sp - bytes) & mask;
  if (!push_at(cpu, sp, bytes, frame)) return 0;
  set_gpr(cpu, GPR.RSP, top & mask);
  set_gpr(cpu, GPR.RBP, bytes == 2 ? (rbp & ~0xffff) | (frame & 0xffff) : frame);
  return 1;
}
