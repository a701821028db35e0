// HYPERVISOR_xen_version (public/version.h, features.h). Xenolith implements the interface of Xen 4.17, and says so.
import { CompileInfo, ERRNO, FeatureInfo, HYPERVISOR_VIRT_START, PlatformParameters, VMASST_TYPE, XENFEAT, XENFEAT_NR_SUBMAPS, XENVER, XENVER_LEN } from "../abi";
import { Domain } from "../domain";
import { copy_from_guest, copy_to_guest } from "../guest";
import { current, scratch } from "../percpu";

const XEN_VERSION: i64 = 4;
const XEN_SUBVERSION: i64 = 17;

/** A string literal as ASCII with its terminator at scratch; the rest of `size` is 0. */
function put_string(at: usize, s: string, size: u32): void {
  memory.fill(at, 0, size);
  const n = min<u32>(s.length, size - 1);
  for (let i: u32 = 0; i < n; i++) store<u8>(at + i, load<u16>(changetype<usize>(s) + (<usize>i << 1)));
}

function give(arg: u64, size: u32): i64 {
  return copy_to_guest(arg, scratch, size) != 0 ? -ERRNO.EFAULT : 0;
}

function features(d: Domain): u32 {
  let f: u32 = 1 << XENFEAT.memory_op_vnode_supported;
  if (d.is_hvm) {
    f |= 1 << XENFEAT.writable_page_tables;
    f |= 1 << XENFEAT.auto_translated_physmap;
    f |= 1 << XENFEAT.hvm_safe_pvclock;
    f |= 1 << XENFEAT.hvm_callback_vector;
    f |= 1 << XENFEAT.not_direct_mapped;
  } else {
    f |= 1 << XENFEAT.mmu_pt_update_preserve_ad;
    f |= 1 << XENFEAT.highmem_assist;
    f |= 1 << XENFEAT.gnttab_map_avail_bits;
    f |= 1 << XENFEAT.direct_mapped;
  }
  if ((d.vm_assist >> VMASST_TYPE.pae_extended_cr3) & 1) f |= 1 << XENFEAT.pae_pgdir_above_4gb;
  if (d.privileged) f |= 1 << XENFEAT.dom0;
  return f;
}

export function do_xen_version(cmd: u32, arg: u64): i64 {
  const d = current.domain;
  const s = scratch;
  switch (cmd) {
    case XENVER.version:
      return (XEN_VERSION << 16) | XEN_SUBVERSION;
    case XENVER.extraversion:
      put_string(s, ".7", XENVER_LEN.extraversion);
      return give(arg, XENVER_LEN.extraversion);
    case XENVER.compile_info:
      put_string(s + CompileInfo.compiler, "AssemblyScript", 64);
      put_string(s + CompileInfo.compile_by, "xenolith", 16);
      put_string(s + CompileInfo.compile_domain, "", 32);
      put_string(s + CompileInfo.compile_date, "", 32);
      return give(arg, <u32>CompileInfo.SIZE);
    case XENVER.capabilities:
      put_string(s, "xen-3.0-x86_64 hvm-3.0-x86_64 ", XENVER_LEN.capabilities);
      return give(arg, XENVER_LEN.capabilities);
    case XENVER.changeset:
      put_string(s, "xenolith", XENVER_LEN.changeset);
      return give(arg, XENVER_LEN.changeset);
    case XENVER.platform_parameters:
      store<u64>(s, HYPERVISOR_VIRT_START, PlatformParameters.virt_start);
      return give(arg, <u32>PlatformParameters.SIZE);
    case XENVER.get_features: {
      if (copy_from_guest(s, arg, <u32>FeatureInfo.SIZE) != 0) return -ERRNO.EFAULT;
      const sub = load<u32>(s, FeatureInfo.submap_idx);
      if (sub >= XENFEAT_NR_SUBMAPS) return -ERRNO.EINVAL;
      store<u32>(s, features(d), FeatureInfo.submap);
      return give(arg, <u32>FeatureInfo.SIZE);
    }
    case XENVER.pagesize:
      return arg != 0 ? -ERRNO.EINVAL : 4096;
    case XENVER.guest_handle:
      store<u64>(s, d.handle_lo);
      store<u64>(s, d.handle_hi, 8);
      return give(arg, 16);
    case XENVER.commandline:
      put_string(s, d.privileged ? "" : "<denied>", XENVER_LEN.commandline);
      return give(arg, XENVER_LEN.commandline);
    case XENVER.build_id:
      return d.privileged ? -ERRNO.ENODATA : -ERRNO.EPERM;
    default:
      return -ERRNO.ENOSYS;
  }
}
