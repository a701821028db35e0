// The context of an HVM domain: domctl gethvmcontext, sethvmcontext and gethvmcontext_partial (public/hvm/save.h). A list of
// records: a header, then for each kind one a vCPU, and an end. What it holds of vCPUs is in save_cpu.ts and save_lapic.ts.
import {
  DomctlHvmcontext, DomctlHvmcontextPartial, ERRNO, HVM_FILE_MAGIC, HVM_FILE_VERSION, HVM_SAVE, HvmHwCpu, HvmHwCpuXsave, HvmHwLapic, HvmHwLapicRegs,
  HvmHwMtrr, HvmSaveDescriptor, HvmSaveHeader,
} from "../abi";
import { Domain, VPF_down, Vcpu, domain_vcpu, is_null } from "../domain";
import { copy_from_guest, copy_to_guest } from "../guest";
import { xfree, xzalloc } from "../mm/xmalloc";
import { domain_pause, domain_unpause } from "../pause";
import { vcpu_sleep_nosync } from "../sched/sched";
import { xen } from "../state";
import { CpuidResult, domain_cpuid } from "../traps/cpuid";
import { scratch } from "../percpu";
import { load_cpu, load_xsave, save_cpu, save_xsave } from "./save_cpu";
import { load_lapic, load_lapic_regs, load_mtrr, save_lapic, save_lapic_regs, save_mtrr } from "./save_lapic";

/** More is no context. */
const SIZE_MAX: u32 = 1 << 20;
const DESCRIPTOR: u32 = <u32>HvmSaveDescriptor.SIZE;
const CPUID_AT: u32 = 1280;

/** Kinds of vCPU records in the order of their type codes. */
const KINDS: u32 = 5;
function kind(i: u32): u32 {
  switch (i) {
    case 0: return HVM_SAVE.CPU;
    case 1: return HVM_SAVE.LAPIC;
    case 2: return HVM_SAVE.LAPIC_REGS;
    case 3: return HVM_SAVE.MTRR;
    default: return HVM_SAVE.CPU_XSAVE;
  }
}

/** Bytes of a record's contents, 0: not one that is known. */
function size_of(type: u32): u32 {
  switch (type) {
    case HVM_SAVE.HEADER: return <u32>HvmSaveHeader.SIZE;
    case HVM_SAVE.CPU: return <u32>HvmHwCpu.SIZE;
    case HVM_SAVE.LAPIC: return <u32>HvmHwLapic.SIZE;
    case HVM_SAVE.LAPIC_REGS: return <u32>HvmHwLapicRegs.SIZE;
    case HVM_SAVE.MTRR: return <u32>HvmHwMtrr.SIZE;
    case HVM_SAVE.CPU_XSAVE: return <u32>HvmHwCpuXsave.SIZE;
    default: return 0;
  }
}

function vcpus_of(d: Domain): u32 {
  let n: u32 = 0;
  for (let i: u32 = 0; i < d.max_vcpus; i++) if (!is_null(domain_vcpu(d, i))) n++;
  return n;
}

/** Bytes of the whole context. */
function hvm_save_size(d: Domain): u32 {
  let each: u32 = 0;
  for (let i: u32 = 0; i < KINDS; i++) each += DESCRIPTOR + size_of(kind(i));
  return DESCRIPTOR + size_of(HVM_SAVE.HEADER) + vcpus_of(d) * each + DESCRIPTOR;
}

function save_record(type: u32, v: Vcpu, at: usize): void {
  switch (type) {
    case HVM_SAVE.CPU:
      save_cpu(v, at);
      break;
    case HVM_SAVE.LAPIC:
      save_lapic(v, at);
      break;
    case HVM_SAVE.LAPIC_REGS:
      save_lapic_regs(v, at);
      break;
    case HVM_SAVE.MTRR:
      save_mtrr(v, at);
      break;
    case HVM_SAVE.CPU_XSAVE:
      save_xsave(v, at);
      break;
  }
}

function load_record(type: u32, v: Vcpu, at: usize): i64 {
  switch (type) {
    case HVM_SAVE.CPU: return load_cpu(v, at);
    case HVM_SAVE.LAPIC: return load_lapic(v, at);
    case HVM_SAVE.LAPIC_REGS: return load_lapic_regs(v, at);
    case HVM_SAVE.MTRR: return load_mtrr(v, at);
    default: return load_xsave(v, at);
  }
}

function descriptor(at: usize, type: u32, instance: u32, length: u32): usize {
  store<u16>(at, type, HvmSaveDescriptor.typecode);
  store<u16>(at, instance, HvmSaveDescriptor.instance);
  store<u32>(at, length, HvmSaveDescriptor.length);
  return at + DESCRIPTOR;
}

function save_header(d: Domain, at: usize): void {
  store<u32>(at, HVM_FILE_MAGIC, HvmSaveHeader.magic);
  store<u32>(at, HVM_FILE_VERSION, HvmSaveHeader.version);
  const r = changetype<CpuidResult>(scratch + CPUID_AT);
  domain_cpuid(d, 1, 0, r);
  store<u32>(at, r.a, HvmSaveHeader.cpuid);
  store<u32>(at, xen().tsc_khz, HvmSaveHeader.gtsc_khz);
}

/** Writes hvm_save_size bytes at `p`. The domain is paused. */
function hvm_save(d: Domain, p: usize): void {
  let at = descriptor(p, HVM_SAVE.HEADER, 0, size_of(HVM_SAVE.HEADER));
  save_header(d, at);
  at += size_of(HVM_SAVE.HEADER);
  for (let k: u32 = 0; k < KINDS; k++) {
    const type = kind(k);
    for (let i: u32 = 0; i < d.max_vcpus; i++) {
      const v = domain_vcpu(d, i);
      if (is_null(v)) continue;
      at = descriptor(at, type, i, size_of(type));
      save_record(type, v, at);
      at += size_of(type);
    }
  }
  descriptor(at, HVM_SAVE.END, 0, 0);
}

/** A null buffer asks for the size. */
export function gethvmcontext(d: Domain, u: usize): i64 {
  if (!d.is_hvm) return -ERRNO.EINVAL;
  const size = hvm_save_size(d);
  const buffer = load<u64>(u, DomctlHvmcontext.buffer);
  const room = load<u32>(u, DomctlHvmcontext.size);
  store<u32>(u, size, DomctlHvmcontext.size);
  if (buffer == 0) return 0;
  if (room < size) return -ERRNO.ENOSPC;
  const p = xzalloc(size);
  if (p == 0) return -ERRNO.ENOMEM;
  domain_pause(d);
  hvm_save(d, p);
  domain_unpause(d);
  const left = copy_to_guest(buffer, p, size);
  xfree(p);
  return left != 0 ? -ERRNO.EFAULT : 0;
}

/** The contents of one record. */
export function gethvmcontext_partial(d: Domain, u: usize): i64 {
  if (!d.is_hvm) return -ERRNO.EINVAL;
  const type = load<u32>(u, DomctlHvmcontextPartial.type);
  const v = domain_vcpu(d, load<u32>(u, DomctlHvmcontextPartial.instance));
  const size = size_of(type);
  if (size == 0 || type == HVM_SAVE.HEADER) return -ERRNO.EINVAL;
  if (is_null(v)) return -ERRNO.ENOENT;
  const buffer = load<u64>(u, DomctlHvmcontextPartial.buffer);
  const room = load<u64>(u, DomctlHvmcontextPartial.bufsz);
  store<u64>(u, size, DomctlHvmcontextPartial.bufsz);
  if (buffer == 0) return 0;
  if (room < <u64>size) return -ERRNO.ENOSPC;
  const p = xzalloc(size);
  if (p == 0) return -ERRNO.ENOMEM;
  domain_pause(d);
  save_record(type, v, p);
  domain_unpause(d);
  const left = copy_to_guest(buffer, p, size);
  xfree(p);
  return left != 0 ? -ERRNO.EFAULT : 0;
}

/** Only vCPUs that a record of kind CPU is for are up afterwards. The domain is paused. */
function hvm_load(d: Domain, p: usize, size: u32): i64 {
  if (d.is_dying) return -ERRNO.EINVAL;
  const head = size_of(HVM_SAVE.HEADER);
  if (size < DESCRIPTOR + head || load<u16>(p, HvmSaveDescriptor.typecode) != HVM_SAVE.HEADER) return -ERRNO.ENODATA;
  if (load<u32>(p, HvmSaveDescriptor.length) != head) return -ERRNO.ENODATA;
  const header = p + DESCRIPTOR;
  if (load<u32>(header, HvmSaveHeader.magic) != HVM_FILE_MAGIC) return -ERRNO.EINVAL;
  if (load<u32>(header, HvmSaveHeader.version) != HVM_FILE_VERSION) return -ERRNO.EINVAL;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (is_null(v)) continue;
    atomic.or<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_flags"), VPF_down);
    vcpu_sleep_nosync(v);
  }
  let at = DESCRIPTOR + head;
  while (size - at >= DESCRIPTOR) {
    const type = <u32>load<u16>(p + at, HvmSaveDescriptor.typecode);
    const length = load<u32>(p + at, HvmSaveDescriptor.length);
    const v = domain_vcpu(d, load<u16>(p + at, HvmSaveDescriptor.instance));
    at += DESCRIPTOR;
    if (type == HVM_SAVE.END) return 0;
    const expected = size_of(type);
    if (expected == 0 || type == HVM_SAVE.HEADER) return -ERRNO.EOPNOTSUPP;
    if (length != expected || size - at < length || is_null(v)) return -ERRNO.EINVAL;
    const rc = load_record(type, v, p + at);
    if (rc != 0) return rc;
    at += length;
  }
  return -ERRNO.ENODATA;
}

export function sethvmcontext(d: Domain, u: usize): i64 {
  if (!d.is_hvm) return -ERRNO.EINVAL;
  const size = load<u32>(u, DomctlHvmcontext.size);
  if (size > SIZE_MAX) return -ERRNO.ENOMEM;
  const p = xzalloc(max<u32>(size, 1));
  if (p == 0) return -ERRNO.ENOMEM;
  let rc: i64 = -ERRNO.EFAULT;
  if (copy_from_guest(p, load<u64>(u, DomctlHvmcontext.buffer), size) == 0) {
    domain_pause(d);
    rc = hvm_load(d, p, size);
    domain_unpause(d);
  }
  xfree(p);
  return rc;
}
