// CPU policies as lists of leaves (public/arch-x86/xen.h, xen_cpuid_leaf): domctl get/set_cpu_policy, sysctl
// get_cpu_policy. A toolstack may take features away from a domain before it runs, never add any.
import { CPUID_NO_SUBLEAF, CpuidLeaf, DomctlCpuPolicy, ERRNO, MsrEntry } from "../abi";
import { Domain } from "../domain";
import { copy_from_guest, copy_to_guest } from "../guest";
import { xfree, xzalloc } from "../mm/xmalloc";
import { scratch } from "../percpu";
import { CpuidResult, cpuid_policy_of, domain_cpuid, MAX_EXTENDED_LEAF } from "../traps/cpuid";

/** Leaves of the policy, in order; those with subleaves give subleaf 0. */
const NR_LEAVES: u32 = 15;
function leaf_number(i: u32): u32 {
  switch (i) {
    case 0: return 0;
    case 1: return 1;
    case 2: return 7;
    case 3: return 0xd;
    case 4: return 0xb;
    case NR_LEAVES - 1: return MAX_EXTENDED_LEAF;
    default: return 0x8000_0000 + (i - 5);
  }
}

function has_subleaf(leaf: u32): bool {
  return leaf == 7 || leaf == 0xd || leaf == 0xb;
}

/** Most leaves and MSRs that a set may list. */
const MAX_SET: u32 = 256;
/** In the scratch page: the entry that is copied, and the result. */
const ENTRY: u32 = 1280;
const RESULT: u32 = 1320;

/**
 * Writes the leaves to `handle` (room for `room`; a null handle only asks how many). d: null for all that a domain, `hvm` or not, can have. Returns the
 * number, or -errno.
 */
export function give_leaves(d: Domain, hvm: bool, handle: u64, room: u32): i64 {
  if (handle == 0) return NR_LEAVES;
  if (room < NR_LEAVES) return -ERRNO.ENOBUFS;
  const r = changetype<CpuidResult>(scratch + RESULT);
  for (let i: u32 = 0; i < NR_LEAVES; i++) {
    const leaf = leaf_number(i);
    if (changetype<usize>(d) == 0) cpuid_policy_of(hvm, leaf, 0, r);
    else domain_cpuid(d, leaf, 0, r);
    const e = scratch + ENTRY;
    store<u32>(e, leaf, CpuidLeaf.leaf);
    store<u32>(e, has_subleaf(leaf) ? 0 : CPUID_NO_SUBLEAF, CpuidLeaf.subleaf);
    store<u32>(e, r.a, CpuidLeaf.a);
    store<u32>(e, r.b, CpuidLeaf.b);
    store<u32>(e, r.c, CpuidLeaf.c);
    store<u32>(e, r.d, CpuidLeaf.d);
    if (copy_to_guest(handle + <u64>i * <u64>CpuidLeaf.SIZE, e, <u32>CpuidLeaf.SIZE) != 0) return -ERRNO.EFAULT;
  }
  return NR_LEAVES;
}

export function get_cpu_policy(d: Domain, u: usize): i64 {
  const n = give_leaves(d, d.is_hvm != 0, load<u64>(u, DomctlCpuPolicy.leaves), load<u32>(u, DomctlCpuPolicy.nr_leaves));
  if (n < 0) return n;
  store<u32>(u, <u32>n, DomctlCpuPolicy.nr_leaves);
  // No MSR of the policy differs from 0.
  store<u32>(u, 0, DomctlCpuPolicy.nr_msrs);
  return 0;
}

function err(u: usize, leaf: u32, subleaf: u32, msr: u32): i64 {
  store<u32>(u, leaf, DomctlCpuPolicy.err_leaf);
  store<u32>(u, subleaf, DomctlCpuPolicy.err_subleaf);
  store<u32>(u, msr, DomctlCpuPolicy.err_msr);
  return -ERRNO.EINVAL;
}

/** Which words of a leaf are feature bits, from eax as bit 0 on: there a domain's bits must be among the CPU's. */
function feature_words(leaf: u32): u32 {
  switch (leaf) {
    case 1:
    case 0x8000_0001: return 0b1100;
    case 7: return 0b1110;
    case 0x8000_0008: return 0b0010;
    case MAX_EXTENDED_LEAF: return 0b0001;
    default: return 0;
  }
}

/** May a domain have this? */
function acceptable(hvm: bool, e: usize): bool {
  const leaf = load<u32>(e, CpuidLeaf.leaf);
  const sub = load<u32>(e, CpuidLeaf.subleaf);
  const r = changetype<CpuidResult>(scratch + RESULT);
  cpuid_policy_of(hvm, leaf, sub == CPUID_NO_SUBLEAF ? 0 : sub, r);
  const words = feature_words(leaf);
  return no_more(words, 0, load<u32>(e, CpuidLeaf.a), r.a) && no_more(words, 1, load<u32>(e, CpuidLeaf.b), r.b) &&
    no_more(words, 2, load<u32>(e, CpuidLeaf.c), r.c) && no_more(words, 3, load<u32>(e, CpuidLeaf.d), r.d);
}

/** Word n, if it is among those with features, has none that `all` has not. */
function no_more(words: u32, n: u32, word: u32, all: u32): bool {
  return ((words >> n) & 1) == 0 || (word & ~all) == 0;
}

export function set_cpu_policy(d: Domain, u: usize): i64 {
  if (d.is_ts) return -ERRNO.EINVAL;
  // Only before the domain has run.
  if (d.creation_finished) return -ERRNO.EEXIST;
  const n = load<u32>(u, DomctlCpuPolicy.nr_leaves);
  const msrs = load<u32>(u, DomctlCpuPolicy.nr_msrs);
  if (n > MAX_SET || msrs > MAX_SET) return -ERRNO.E2BIG;
  err(u, u32.MAX_VALUE, u32.MAX_VALUE, u32.MAX_VALUE);
  const list = xzalloc(max<u32>(n, 1) * <u32>CpuidLeaf.SIZE);
  if (list == 0) return -ERRNO.ENOMEM;
  let rc: i64 = 0;
  if (copy_from_guest(list, load<u64>(u, DomctlCpuPolicy.leaves), n * <u32>CpuidLeaf.SIZE) != 0) rc = -ERRNO.EFAULT;
  for (let i: u32 = 0; rc == 0 && i < n; i++) {
    const e = list + i * <u32>CpuidLeaf.SIZE;
    if (!acceptable(d.is_hvm != 0, e)) rc = err(u, load<u32>(e, CpuidLeaf.leaf), load<u32>(e, CpuidLeaf.subleaf), u32.MAX_VALUE);
  }
  for (let i: u32 = 0; rc == 0 && i < msrs; i++) {
    const e = scratch + ENTRY;
    if (copy_from_guest(e, load<u64>(u, DomctlCpuPolicy.msrs) + <u64>i * <u64>MsrEntry.SIZE, <u32>MsrEntry.SIZE) != 0) rc = -ERRNO.EFAULT;
    else if (load<u64>(e, MsrEntry.val) != 0 || load<u32>(e, MsrEntry.flags) != 0) rc = err(u, u32.MAX_VALUE, u32.MAX_VALUE, load<u32>(e, MsrEntry.idx));
  }
  if (rc != 0) {
    xfree(list);
    return rc;
  }
  const old = d.cpuid_leaves;
  d.cpuid_leaves = list;
  d.nr_cpuid_leaves = n;
  if (old != 0) xfree(old);
  return 0;
}
