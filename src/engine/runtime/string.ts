/**
 * Repeated string instructions (SDM vol. 2, REP): one call does a bounded chunk, keeping rCX, rSI and rDI exact, and
 * returns 0 (fault recorded), 1 (done) or 2 (more to do). What lies within a page is done at once when that equals doing
 * it element by element; elements that cross a page go one at a time.
 *
 * `bytes`: element size; `addrsize`: 8, 4 (offsets modulo 2^32, upper register halves cleared) or 2 (offsets modulo 2^16,
 * the rest of the registers kept); `base`: the source's segment base. ES's base is 0 in 64-bit mode. Registers change only
 * when an element was done.
 */
import { CpuState, GPR, RFLAGS, SEG } from '../../../build/abi/engine';
import { set_flags_sub } from './flags';
import { commit, probe_read, probe_write } from './mmu';

/** Most bytes done in one call: some 10 µs. */
const CHUNK: u64 = 65536;

const RAX: usize = CpuState.gpr + 8 * GPR.RAX;
const RCX: usize = CpuState.gpr + 8 * GPR.RCX;
const RSI: usize = CpuState.gpr + 8 * GPR.RSI;
const RDI: usize = CpuState.gpr + 8 * GPR.RDI;

/** Elements that one call may do: #DB comes after each, for a single-stepping guest or one that watches memory. */
@inline function turn(cpu: usize, bytes: u32): u64 {
  return (load<u64>(cpu, CpuState.rflags) & RFLAGS.TF) != 0 || load<u32>(cpu, CpuState.watch_step) != 0 ? 1 : CHUNK / bytes;
}
@inline function offset_mask(addrsize: u32): u64 {
  return u64.MAX_VALUE >> (64 - addrsize * 8);
}
@inline function put_reg(cpu: usize, addrsize: u32, v: u64, reg: usize): void {
  if (addrsize == 2) store<u16>(cpu + reg, <u16>v);
  else store<u64>(cpu + reg, v);
}
@inline function backwards(cpu: usize): bool {
  return (load<u64>(cpu, CpuState.rflags) & RFLAGS.DF) != 0;
}
@inline function es_base(cpu: usize): u64 {
  return load<u64>(cpu, CpuState.segbase + 8 * SEG.ES);
}
@inline function linear(cpu: usize, base: u64, offset: u64): u64 {
  const a = base + offset;
  return load<u32>(cpu, CpuState.mode) == 0 ? a : a & 0xffffffff;
}

/** How many elements from `offset` at linear address `a` on, in the direction of travel, lie wholly within a's page. */
function within(a: u64, offset: u64, bytes: u32, addrsize: u32, down: bool): u64 {
  const at = a & 0xfff;
  if (at + bytes > 4096) return 0;
  let n: u64 = down ? at / bytes + 1 : (4096 - at) / bytes;
  if (addrsize != 8) {
    // Nor may the offset wrap (it does so within a page only if the segment base is not page aligned).
    const room: u64 = down ? offset / bytes + 1 : (offset_mask(addrsize) + 1 - offset) / bytes;
    if (room < n) n = room;
  }
  return n;
}

@inline function get(h: u32, bytes: u32): u64 {
  if (bytes == 1) return load<u8>(h);
  if (bytes == 2) return load<u16>(h);
  if (bytes == 4) return load<u32>(h);
  return load<u64>(h);
}
@inline function put(h: u32, bytes: u32, v: u64): void {
  if (bytes == 1) store<u8>(h, <u8>v);
  else if (bytes == 2) store<u16>(h, <u16>v);
  else if (bytes == 4) store<u32>(h, <u32>v);
  else store<u64>(h, v);
}

/** Store one element, which may cross a page. */
function put_guest(cpu: usize, a: u64, bytes: u32, v: u64): bool {
  const h = probe_write(cpu, a, bytes);
  if (!h) return false;
  put(h, bytes, v);
  if (h == <u32>cpu + <u32>CpuState.bounce) commit(cpu);
  return true;
}

/**
 * Host address of the lowest of k elements from linear address `a` on, all in its page, to be written. The first element
 * is probed first, so that a fault names it; then the whole range, so that decoded code anywhere in it is dropped.
 */
function probe_run(cpu: usize, a: u64, bytes: u32, k: u64, down: bool): u32 {
  const len = <u32>k * bytes;
  if (!down) return probe_write(cpu, a, len);
  if (!probe_write(cpu, a, bytes)) return 0;
  return probe_write(cpu, a - (len - bytes), len);
}

/** Copy `len` bytes as element-wise copying upwards does: where the target begins inside the source, a pattern repeats. */
function copy_up(d: u32, s: u32, len: u32, bytes: u32): void {
  const ahead = d - s;
  if (ahead >= len || ahead == 0) {
    memory.copy(d, s, len);
    return;
  }
  if (ahead == 1 && bytes == 1) {
    memory.fill(d, load<u8>(s), len);
    return;
  }
  if (ahead >= 64) {
    // No element reads what an element of the same piece has written.
    for (let done: u32 = 0; done < len; done += ahead) memory.copy(d + done, s + done, min(ahead, len - done));
    return;
  }
  for (let i: u32 = 0; i < len; i += bytes) put(d + i, bytes, get(s + i, bytes));
}

/** The same downwards; d and s are the lowest addresses. */
function copy_down(d: u32, s: u32, len: u32, bytes: u32): void {
  const behind = s - d;
  if (behind >= len || behind == 0) {
    memory.copy(d, s, len);
    return;
  }
  for (let i: u32 = len; i != 0; ) {
    i -= bytes;
    put(d + i, bytes, get(s + i, bytes));
  }
}

export function rep_movs(cpu: usize, bytes: u32, addrsize: u32, base: u64): u32 {
  const mask = offset_mask(addrsize);
  const to_base = es_base(cpu);
  const down = backwards(cpu);
  let count = load<u64>(cpu, RCX) & mask;
  if (count == 0) return 1;
  let si = load<u64>(cpu, RSI) & mask;
  let di = load<u64>(cpu, RDI) & mask;
  const full = turn(cpu, bytes);
  let budget = full;
  let result: u32 = 0;
  for (;;) {
    const s = linear(cpu, base, si);
    const d = linear(cpu, to_base, di);
    let k = min(min(count, budget), min(within(s, si, bytes, addrsize, down), within(d, di, bytes, addrsize, down)));
    if (k == 0) {
      const h = probe_read(cpu, s, bytes);
      if (!h) break;
      if (!put_guest(cpu, d, bytes, get(h, bytes))) break;
      k = 1;
    } else {
      const hs = probe_read(cpu, s, bytes);
      if (!hs) break;
      const hd = probe_run(cpu, d, bytes, k, down);
      if (!hd) break;
      const len = <u32>k * bytes;
      if (down) copy_down(hd, hs - (len - bytes), len, bytes);
      else copy_up(hd, hs, len, bytes);
    }
    const moved = k * bytes;
    si = (down ? si - moved : si + moved) & mask;
    di = (down ? di - moved : di + moved) & mask;
    count -= k;
    budget -= k;
    if (count == 0 || budget == 0) {
      result = count == 0 ? 1 : 2;
      break;
    }
  }
  if (budget == full) return result;
  put_reg(cpu, addrsize, count, RCX);
  put_reg(cpu, addrsize, si, RSI);
  put_reg(cpu, addrsize, di, RDI);
  return result;
}

/** Fill k elements from `h` up with v. */
function fill(h: u32, bytes: u32, k: u64, v: u64): void {
  const byte = v & 0xff;
  const uniform = byte * 0x0101010101010101;
  const up: u64 = 64 - bytes * 8;
  const len = <u32>k * bytes;
  if ((uniform ^ v) << up == 0) {
    memory.fill(h, <u8>byte, len);
    return;
  }
  for (let i: u32 = 0; i < len; i += bytes) put(h + i, bytes, v);
}

export function rep_stos(cpu: usize, bytes: u32, addrsize: u32): u32 {
  const mask = offset_mask(addrsize);
  const to_base = es_base(cpu);
  const down = backwards(cpu);
  const v = load<u64>(cpu, RAX);
  let count = load<u64>(cpu, RCX) & mask;
  if (count == 0) return 1;
  let di = load<u64>(cpu, RDI) & mask;
  const full = turn(cpu, bytes);
  let budget = full;
  let result: u32 = 0;
  for (;;) {
    const d = linear(cpu, to_base, di);
    let k = min(min(count, budget), within(d, di, bytes, addrsize, down));
    if (k == 0) {
      if (!put_guest(cpu, d, bytes, v)) break;
      k = 1;
    } else {
      const h = probe_run(cpu, d, bytes, k, down);
      if (!h) break;
      fill(h, bytes, k, v);
    }
    di = (down ? di - k * bytes : di + k * bytes) & mask;
    count -= k;
    budget -= k;
    if (count == 0 || budget == 0) {
      result = count == 0 ? 1 : 2;
      break;
    }
  }
  if (budget == full) return result;
  put_reg(cpu, addrsize, count, RCX);
  put_reg(cpu, addrsize, di, RDI);
  return result;
}

/** Only the last element of each run is loaded: a page is readable as a whole or not at all. */
export function rep_lods(cpu: usize, bytes: u32, addrsize: u32, base: u64): u32 {
  const mask = offset_mask(addrsize);
  const down = backwards(cpu);
  let count = load<u64>(cpu, RCX) & mask;
  if (count == 0) return 1;
  let si = load<u64>(cpu, RSI) & mask;
  const full = turn(cpu, bytes);
  let budget = full;
  let result: u32 = 0;
  for (;;) {
    const s = linear(cpu, base, si);
    const run = min(min(count, budget), within(s, si, bytes, addrsize, down));
    const h = probe_read(cpu, s, bytes);
    if (!h) break;
    const k = max(run, 1);
    const last = <u32>(k - 1) * bytes;
    const v = get(down ? h - last : h + last, bytes);
    if (bytes == 1) store<u8>(cpu, <u8>v, RAX);
    else if (bytes == 2) store<u16>(cpu, <u16>v, RAX);
    else store<u64>(cpu, v, RAX);
    si = (down ? si - k * bytes : si + k * bytes) & mask;
    count -= k;
    budget -= k;
    if (count == 0 || budget == 0) {
      result = count == 0 ? 1 : 2;
      break;
    }
  }
  if (budget == full) return result;
  put_reg(cpu, addrsize, count, RCX);
  put_reg(cpu, addrsize, si, RSI);
  return result;
}

/**
 * scas (no source: the accumulator) and cmps. Flags are those of the last comparison, also when a later one faults (as
 * on AMD's processors; Intel's restore them).
 */
function compare(cpu: usize, bytes: u32, addrsize: u32, source: bool, base: u64, while_different: u32): u32 {
  const mask = offset_mask(addrsize);
  const to_base = es_base(cpu);
  const down = backwards(cpu);
  const step: u64 = down ? 0 - <u64>bytes : bytes;
  const wanted = while_different != 0;
  let count = load<u64>(cpu, RCX) & mask;
  if (count == 0) return 1;
  let si = load<u64>(cpu, RSI) & mask;
  let di = load<u64>(cpu, RDI) & mask;
  const full = turn(cpu, bytes);
  let budget = full;
  let a = load<u64>(cpu, RAX) & (u64.MAX_VALUE >> (64 - bytes * 8));
  let b: u64 = 0;
  let result: u32 = 0;
  for (;;) {
    const d = linear(cpu, to_base, di);
    let k = min(min(count, budget), within(d, di, bytes, addrsize, down));
    let hd = probe_read(cpu, d, bytes);
    if (!hd) break;
    let hs: u32 = 0;
    if (source) {
      const s = linear(cpu, base, si);
      k = min(k, within(s, si, bytes, addrsize, down));
      // The second probe may use the same bounce buffer.
      const first = get(hd, bytes);
      hs = probe_read(cpu, s, bytes);
      if (!hs) break;
      if (k == 0) {
        a = get(hs, bytes);
        b = first;
      }
    } else if (k == 0) b = get(hd, bytes);
    let done: u64 = 0;
    let different = a != b;
    if (k == 0) done = 1;
    while (done < k) {
      if (source) a = get(hs, bytes);
      b = get(hd, bytes);
      different = a != b;
      done++;
      if (different != wanted) break;
      hs += <u32>step;
      hd += <u32>step;
    }
    if (source) si = (si + done * step) & mask;
    di = (di + done * step) & mask;
    count -= done;
    budget -= done;
    if (different != wanted || count == 0) result = 1;
    else if (budget == 0) result = 2;
    if (result) break;
  }
  if (budget == full) return result;
  set_flags_sub(cpu, a, b, bytes);
  put_reg(cpu, addrsize, count, RCX);
  if (source) put_reg(cpu, addrsize, si, RSI);
  put_reg(cpu, addrsize, di, RDI);
  return result;
}

export function rep_cmps(cpu: usize, bytes: u32, addrsize: u32, base: u64, while_different: u32): u32 {
  return compare(cpu, bytes, addrsize, true, base, while_different);
}

export function rep_scas(cpu: usize, bytes: u32, addrsize: u32, while_different: u32): u32 {
  return compare(cpu, bytes, addrsize, false, 0, while_different);
}
