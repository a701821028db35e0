/** x87 control: control word, environment and state images (SDM vol. 1 8.1.10, figures 8-9 to 8-12). */
import { CpuState } from '../../../build/abi/engine';
import { commit, probe_read, probe_write } from './mmu';
import { fp_summary, set_status, status } from './x87-stack';

/** Only these bits of the control word exist (bit 6 reads as 1). */
const FCW_MASK: u32 = 0x1f3f;
/** The eight registers as fnsave stores them. */
const STACK_BYTES: u32 = 80;

export function fp_init(cpu: usize): void {
  store<u16>(cpu, 0x37f, CpuState.fcw);
  set_status(cpu, 0);
  store<u16>(cpu, 0, CpuState.ftw);
  store<u16>(cpu, 0, CpuState.fop);
  store<u16>(cpu, 0, CpuState.fcs);
  store<u16>(cpu, 0, CpuState.fds);
  store<u64>(cpu, 0, CpuState.fip);
  store<u64>(cpu, 0, CpuState.fdp);
}

/** fnclex. */
export function fp_clear(cpu: usize): void {
  store<u16>(cpu, u16(load<u16>(cpu, CpuState.fsw) & 0x7f00), CpuState.fsw);
}

/** fldcw. An exception that becomes unmasked while its flag is set is raised by the next waiting instruction. */
export function fp_set_control(cpu: usize, v: u32): void {
  store<u16>(cpu, u16((v & FCW_MASK) | 0x40), CpuState.fcw);
  fp_summary(cpu);
}

/** The full tag word: 0 valid, 1 zero, 2 special, 3 empty, two bits per physical register. */
export function fp_full_tags(cpu: usize): u32 {
  const used: u32 = load<u16>(cpu, CpuState.ftw);
  let tags: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    let t: u32 = 3;
    if ((used >> i) & 1) {
      const p = cpu + CpuState.st + (i << 4);
      const e = u32(load<u16>(p, 8)) & 0x7fff;
      const sig = load<u64>(p);
      t = e == 0 ? (sig == 0 ? 1 : 2) : e == 0x7fff || i64(sig) >= 0 ? 2 : 0;
    }
    tags |= t << (i * 2);
  }
  return tags;
}

/**
 * All of [addr, addr + n), n at most a page, can be accessed: 1, or 0 with the fault recorded. Probing the two ends is
 * also what the real CPU does: a fault in the second page names the last byte.
 */
function readable(cpu: usize, addr: u64, n: u32): u32 {
  return u32(probe_read(cpu, addr, 1) != 0 && probe_read(cpu, addr + u64(n) - 1, 1) != 0);
}

function writable(cpu: usize, addr: u64, n: u32): u32 {
  return u32(probe_write(cpu, addr, 1) != 0 && probe_write(cpu, addr + u64(n) - 1, 1) != 0);
}

/** Write an integer of type T; the pages were probed, so this cannot fault. */
function put<T>(cpu: usize, addr: u64, v: T): void {
  const p = probe_write(cpu, addr, sizeof<T>());
  if (p == 0) return;
  store<T>(p, v);
  if (p == u32(cpu + CpuState.bounce)) commit(cpu);
}

function fetch<T>(cpu: usize, addr: u64): T {
  const p = probe_read(cpu, addr, sizeof<T>());
  return p == 0 ? <T>0 : load<T>(p);
}

// @ts-ignore: decorator
@inline
function environment_bytes(wide: u32): u32 {
  return wide ? 28 : 14;
}

function put_environment(cpu: usize, at: u64, wide: u32): void {
  const cw: u32 = load<u16>(cpu, CpuState.fcw);
  const sw = status(cpu);
  const tw = fp_full_tags(cpu);
  const ip = u32(load<u64>(cpu, CpuState.fip));
  const dp = u32(load<u64>(cpu, CpuState.fdp));
  const cs: u32 = load<u16>(cpu, CpuState.fcs);
  const ds: u32 = load<u16>(cpu, CpuState.fds);
  const op: u32 = load<u16>(cpu, CpuState.fop);
  if (wide) {
    put<u32>(cpu, at, 0xffff0000 | cw);
    put<u32>(cpu, at + 4, 0xffff0000 | sw);
    put<u32>(cpu, at + 8, 0xffff0000 | tw);
    put<u32>(cpu, at + 12, ip);
    put<u32>(cpu, at + 16, cs | ((op & 0x7ff) << 16));
    put<u32>(cpu, at + 20, dp);
    put<u32>(cpu, at + 24, 0xffff0000 | ds);
  } else {
    put<u16>(cpu, at, u16(cw));
    put<u16>(cpu, at + 2, u16(sw));
    put<u16>(cpu, at + 4, u16(tw));
    put<u16>(cpu, at + 6, u16(ip));
    put<u16>(cpu, at + 8, u16(cs));
    put<u16>(cpu, at + 10, u16(dp));
    put<u16>(cpu, at + 12, u16(ds));
  }
}

function fetch_environment(cpu: usize, at: u64, wide: u32): void {
  const step: u64 = wide ? 4 : 2;
  const cw: u32 = fetch<u16>(cpu, at);
  const sw: u32 = fetch<u16>(cpu, at + step);
  const tags: u32 = fetch<u16>(cpu, at + step * 2);
  if (wide) {
    store<u64>(cpu, u64(fetch<u32>(cpu, at + 12)), CpuState.fip);
    store<u16>(cpu, u16(fetch<u32>(cpu, at + 16) >> 16) & 0x7ff, CpuState.fop);
    store<u64>(cpu, u64(fetch<u32>(cpu, at + 20)), CpuState.fdp);
  } else {
    store<u64>(cpu, u64(fetch<u16>(cpu, at + 6)), CpuState.fip);
    store<u64>(cpu, u64(fetch<u16>(cpu, at + 10)), CpuState.fdp);
  }
  let used: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    if (((tags >> (i * 2)) & 3) != 3) used |= 1 << i;
  }
  store<u16>(cpu, u16(used), CpuState.ftw);
  set_status(cpu, sw);
  fp_set_control(cpu, cw);
}

/** fnstenv: then all exceptions are masked. */
export function fp_store_env(cpu: usize, addr: u64, wide: u32): u32 {
  if (!writable(cpu, addr, environment_bytes(wide))) return 0;
  put_environment(cpu, addr, wide);
  fp_set_control(cpu, load<u16>(cpu, CpuState.fcw) | 0x3f);
  return 1;
}

export function fp_load_env(cpu: usize, addr: u64, wide: u32): u32 {
  if (!readable(cpu, addr, environment_bytes(wide))) return 0;
  fetch_environment(cpu, addr, wide);
  return 1;
}

/** fnsave: environment, then ST(0) to ST(7), 10 bytes each; then fninit. */
export function fp_save(cpu: usize, addr: u64, wide: u32): u32 {
  const n = environment_bytes(wide);
  if (!writable(cpu, addr, n + STACK_BYTES)) return 0;
  put_environment(cpu, addr, wide);
  const top = u32(load<u16>(cpu, CpuState.ftop));
  for (let i: u32 = 0; i < 8; i++) {
    const p = cpu + CpuState.st + (((top + i) & 7) << 4);
    const at = addr + u64(n + i * 10);
    put<u64>(cpu, at, load<u64>(p));
    put<u16>(cpu, at + 8, load<u16>(p, 8));
  }
  fp_init(cpu);
  return 1;
}

export function fp_restore(cpu: usize, addr: u64, wide: u32): u32 {
  const n = environment_bytes(wide);
  if (!readable(cpu, addr, n + STACK_BYTES)) return 0;
  fetch_environment(cpu, addr, wide);
  const top = u32(load<u16>(cpu, CpuState.ftop));
  for (let i: u32 = 0; i < 8; i++) {
    const p = cpu + CpuState.st + (((top + i) & 7) << 4);
    const at = addr + u64(n + i * 10);
    store<u64>(p, fetch<u64>(cpu, at));
    store<u16>(p, fetch<u16>(cpu, at + 8), 8);
  }
  return 1;
}
