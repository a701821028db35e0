// CPUID as guests see it: the truth about the engine (x86-64-v2), in the shape Xen 4.17 gives a PV guest: no
// superpages, no global pages, no APIC timer; an HVM guest has those. Leaf numbers and bits: Intel SDM vol. 2 CPUID, AMD APM vol. 3 appendix E,
// public/arch-x86/cpuid.h.
import { CPUID_NO_SUBLEAF, CpuState, CpuidLeaf, GPR, XEN_CPUID, XEN_HVM_CPUID } from "../abi";
import { Domain, Vcpu, in_kernel_mode, set_gpr, get_gpr } from "../domain";
import { tsc_to_system_mul, tsc_to_system_shift } from "../time/time_info";
import { xen } from "../state";

/** eax, ebx, ecx, edx, in a buffer of the caller. */
@unmanaged
export class CpuidResult {
  a: u32;
  b: u32;
  c: u32;
  d: u32;
}

const MAX_BASIC_LEAF: u32 = 0xd;
export const MAX_EXTENDED_LEAF: u32 = 0x8000_0021;

// ── leaf 1, ecx ──
const F_SSE3: u32 = 1 << 0;
const F_SSSE3: u32 = 1 << 9;
const F_CX16: u32 = 1 << 13;
const F_PCID: u32 = 1 << 17;
const F_X2APIC: u32 = 1 << 21;
const F_SSE41: u32 = 1 << 19;
const F_SSE42: u32 = 1 << 20;
const F_POPCNT: u32 = 1 << 23;
const F_XSAVE: u32 = 1 << 26;
const F_OSXSAVE: u32 = 1 << 27;
const F_RDRAND: u32 = 1 << 30;
const F_HYPERVISOR: u32 = 1 << 31;
// ── leaf 1, edx; those in COMMON are repeated in leaf 0x80000001 by AMD ──
const F_FPU: u32 = 1 << 0;
const F_PSE: u32 = 1 << 3;
const F_SEP: u32 = 1 << 11;
const F_MTRR: u32 = 1 << 12;
const F_PGE: u32 = 1 << 13;
const F_PSE36: u32 = 1 << 17;
const F_DE: u32 = 1 << 2;
const F_TSC: u32 = 1 << 4;
const F_MSR: u32 = 1 << 5;
const F_PAE: u32 = 1 << 6;
const F_MCE: u32 = 1 << 7;
const F_CX8: u32 = 1 << 8;
const F_APIC: u32 = 1 << 9;
const F_MCA: u32 = 1 << 14;
const F_CMOV: u32 = 1 << 15;
const F_PAT: u32 = 1 << 16;
const F_CLFSH: u32 = 1 << 19;
const F_MMX: u32 = 1 << 23;
const F_FXSR: u32 = 1 << 24;
const F_SSE: u32 = 1 << 25;
const F_SSE2: u32 = 1 << 26;
const COMMON: u32 = F_FPU | F_DE | F_TSC | F_MSR | F_PAE | F_MCE | F_CX8 | F_APIC | F_MCA | F_CMOV | F_PAT | F_MMX | F_FXSR;
// ── leaf 7 ──
const F7B_FSGSBASE: u32 = 1 << 0;
const F7B_INVPCID: u32 = 1 << 10;
const F7B_ERMS: u32 = 1 << 9;
const F7B_RDSEED: u32 = 1 << 18;
const F7D_FSRM: u32 = 1 << 4;
// ── leaf 0x80000001 ──
const FEC_LAHF_LM: u32 = 1 << 0;
const FEC_3DNOWPREFETCH: u32 = 1 << 8;
const FED_SYSCALL: u32 = 1 << 11;
const FED_NX: u32 = 1 << 20;
const FED_MMXEXT: u32 = 1 << 22;
const FED_PAGE1GB: u32 = 1 << 26;
const FED_RDTSCP: u32 = 1 << 27;
const FED_LM: u32 = 1 << 29;
// ── leaf 0x80000008 ──
/** fxsave, xsave and their counterparts always have the x87 error pointers: Linux need not clear them with an x87 load at each restore. */
const FEB_XSAVEERPTR: u32 = 1 << 2;
// ── leaf 0x80000021 ──
/**
 * Automatic IBRS: no prediction made in user mode is used in supervisor mode. What a guest does against that by itself, retpolines, has
 * no effect on code that is translated, and each costs a jump to where nobody can tell where it goes.
 */
const FE21A_AUTOIBRS: u32 = 1 << 8;

/** Family 6, model 6, stepping 3: no quirk of a particular AMD processor applies. */
const SIGNATURE: u32 = 0x663;
/** x87 and SSE state: 512 bytes and the 64-byte header. */
export const XCR0_MASK: u64 = 3;
const XSAVE_SIZE: u32 = 576;

/** Last of the hypervisor's leaves for an HVM guest, and what the leaf says. */
const MAX_HVM_LEAF: u32 = 4;
const HVM_FEATURES: u32 = XEN_HVM_CPUID.IOMMU_MAPPINGS | XEN_HVM_CPUID.VCPU_ID_PRESENT | XEN_HVM_CPUID.DOMID_PRESENT;

const CR4_OSXSAVE: u64 = 1 << 18;

/** 48 characters at most, in 12 words. */
const BRAND: string = "Xenolith x86-64-v2 virtual CPU";

function brand_word(n: u32): u32 {
  let w: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const at = n * 4 + i;
    if (at < <u32>BRAND.length) w |= <u32>BRAND.charCodeAt(at) << (i << 3);
  }
  return w;
}

function set(r: CpuidResult, a: u32, b: u32, c: u32, d: u32): void {
  r.a = a;
  r.b = b;
  r.c = c;
  r.d = d;
}

/** The policy's static leaves: what does not depend on a vCPU. Unknown leaves are 0. */
export function cpuid_policy(leaf: u32, subleaf: u32, r: CpuidResult): void {
  set(r, 0, 0, 0, 0);
  switch (leaf) {
    case 0:
      // "AuthenticAMD"
      set(r, MAX_BASIC_LEAF, 0x68747541, 0x444d4163, 0x69746e65);
      break;
    case 1:
      set(
        r,
        SIGNATURE,
        (1 << 16) | (8 << 8),
        F_SSE3 | F_SSSE3 | F_CX16 | F_SSE41 | F_SSE42 | F_POPCNT | F_XSAVE | F_RDRAND | F_HYPERVISOR,
        COMMON | F_CLFSH | F_SSE | F_SSE2,
      );
      break;
    case 7:
      if (subleaf == 0) set(r, 0, F7B_ERMS | F7B_RDSEED, 0, F7D_FSRM);
      break;
    case 0xd:
      if (subleaf == 0) set(r, <u32>XCR0_MASK, XSAVE_SIZE, XSAVE_SIZE, 0);
      break;
    case 0x8000_0000:
      set(r, MAX_EXTENDED_LEAF, 0x68747541, 0x444d4163, 0x69746e65);
      break;
    case 0x8000_0001:
      set(r, SIGNATURE, 0, FEC_LAHF_LM | FEC_3DNOWPREFETCH, COMMON | FED_SYSCALL | FED_NX | FED_MMXEXT | FED_RDTSCP | FED_LM);
      break;
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const n = (leaf - 0x8000_0002) * 4;
      set(r, brand_word(n), brand_word(n + 1), brand_word(n + 2), brand_word(n + 3));
      break;
    }
    case 0x8000_0005:
      // Level 1: 64 KiB, 2-way, 64-byte lines, as software sizes its copies by them.
      set(r, 0, 0, (64 << 24) | (2 << 16) | (1 << 8) | 64, (64 << 24) | (2 << 16) | (1 << 8) | 64);
      break;
    case 0x8000_0006:
      // Level 2: 512 KiB 16-way; level 3: 16 MiB 16-way.
      set(r, 0, 0, (512 << 16) | (8 << 12) | (1 << 8) | 64, (32 << 18) | (8 << 12) | (1 << 8) | 64);
      break;
    case 0x8000_0008:
      // 40 bits of physical, 48 of linear address.
      set(r, (48 << 8) | 40, FEB_XSAVEERPTR, 0, 0);
      break;
  }
}

/** The static leaves of an HVM vCPU: page tables, interrupts and address spaces are its own. */
export function cpuid_policy_hvm(leaf: u32, subleaf: u32, r: CpuidResult): void {
  cpuid_policy(leaf, subleaf, r);
  switch (leaf) {
    case 1:
      r.c |= F_PCID | F_X2APIC;
      r.d |= F_PSE | F_SEP | F_MTRR | F_PGE | F_PSE36;
      break;
    case 7:
      if (subleaf == 0) r.b |= F7B_FSGSBASE | F7B_INVPCID;
      break;
    case 0x8000_0001:
      r.d |= F_PSE | F_MTRR | F_PGE | F_PSE36 | FED_PAGE1GB;
      break;
    case 0x8000_0021:
      r.a |= FE21A_AUTOIBRS;
      break;
  }
}

/** The policy for one kind of domain. */
export function cpuid_policy_of(hvm: bool, leaf: u32, subleaf: u32, r: CpuidResult): void {
  if (hvm) cpuid_policy_hvm(leaf, subleaf, r);
  else cpuid_policy(leaf, subleaf, r);
}

/** A domain's leaf: what the toolstack set (domctl set_cpu_policy), else the policy's. */
export function domain_cpuid(d: Domain, leaf: u32, subleaf: u32, r: CpuidResult): void {
  for (let i: u32 = 0; i < d.nr_cpuid_leaves; i++) {
    const e = d.cpuid_leaves + i * <u32>CpuidLeaf.SIZE;
    if (load<u32>(e, CpuidLeaf.leaf) != leaf) continue;
    const sub = load<u32>(e, CpuidLeaf.subleaf);
    if (sub != CPUID_NO_SUBLEAF && sub != subleaf) continue;
    set(r, load<u32>(e, CpuidLeaf.a), load<u32>(e, CpuidLeaf.b), load<u32>(e, CpuidLeaf.c), load<u32>(e, CpuidLeaf.d));
    return;
  }
  cpuid_policy_of(d.is_hvm != 0, leaf, subleaf, r);
}

/** The hypervisor's own leaves for v. */
function hypervisor_leaf(v: Vcpu, n: u32, subleaf: u32, r: CpuidResult): void {
  const khz = <u64>xen().tsc_khz;
  const hvm = v.domain.is_hvm != 0;
  switch (n) {
    case 0:
      set(r, XEN_CPUID.FIRST_LEAF + (hvm ? MAX_HVM_LEAF : XEN_CPUID.MAX_NUM_LEAVES), XEN_CPUID.SIGNATURE_EBX, XEN_CPUID.SIGNATURE_ECX, XEN_CPUID.SIGNATURE_EDX);
      break;
    case 1:
      set(r, 0x0004_0011, 0, 0, 0);
      break;
    case 2:
      // One hypercall page, made by a write to this MSR.
      set(r, 1, 0x4000_0000, hvm ? 0 : XEN_CPUID.FEAT1_MMU_PT_UPDATE_PRESERVE_AD, 0);
      break;
    case 3:
      if (subleaf == 0) {
        // Not emulated; the host's TSC is reliable; rdtscp is usable.
        set(r, 2 | 4, v.domain.tsc_mode, <u32>khz, v.domain.tsc_incarnation);
      } else if (subleaf == 1) {
        const offset = load<u64>(v.cpu, CpuState.tsc_offset);
        set(r, <u32>offset, <u32>(offset >> 32), tsc_to_system_mul(khz), <u32>tsc_to_system_shift(khz) & 0xff);
      } else if (subleaf == 2) set(r, <u32>khz, 0, 0, 0);
      break;
    case 4:
      // A vector of its own for events (UPCALL_VECTOR) works, but costs an EOI each time: guests are not told to use it.
      if (hvm && subleaf == 0) set(r, HVM_FEATURES, v.vcpu_id, v.domain.domid, 0);
      break;
    case 5:
      if (!hvm) set(r, 0, 32 & XEN_CPUID.MACHINE_ADDRESS_WIDTH_MASK, 0, 0);
      break;
  }
}

/** Initial APIC id. */
function apic_id(v: Vcpu): u32 {
  return v.domain.is_hvm ? v.vcpu_id * 2 : v.vcpu_id;
}

/** What `cpuid` gives v now. */
export function guest_cpuid(v: Vcpu, leaf: u32, subleaf: u32, r: CpuidResult): void {
  if (leaf >= XEN_CPUID.FIRST_LEAF && leaf <= XEN_CPUID.FIRST_LEAF + 0xff) {
    set(r, 0, 0, 0, 0);
    hypervisor_leaf(v, leaf - XEN_CPUID.FIRST_LEAF, subleaf, r);
    return;
  }
  domain_cpuid(v.domain, leaf, subleaf, r);
  switch (leaf) {
    case 1:
      r.b |= apic_id(v) << 24;
      if (v.domain.is_hvm) {
        if (load<u64>(v.cpu, CpuState.cr4) & CR4_OSXSAVE) r.c |= F_OSXSAVE;
        break;
      }
      // A kernel that asks through Xen learns what the hardware register has, whatever its own CR4 says.
      if ((v.guest_cr4 & CR4_OSXSAVE) != 0 || in_kernel_mode(v)) r.c |= F_OSXSAVE;
      break;
    case 0xb:
      r.c = subleaf & 0xff;
      r.d = apic_id(v);
      break;
    case 0xd:
      if (subleaf == 0) r.b = XSAVE_SIZE;
      break;
  }
}

/** Executes cpuid on v's registers. */
export function do_guest_cpuid(v: Vcpu, r: CpuidResult): void {
  guest_cpuid(v, <u32>get_gpr(v, GPR.RAX), <u32>get_gpr(v, GPR.RCX), r);
  set_gpr(v, GPR.RAX, r.a);
  set_gpr(v, GPR.RBX, r.b);
  set_gpr(v, GPR.RCX, r.c);
  set_gpr(v, GPR.RDX, r.d);
}
