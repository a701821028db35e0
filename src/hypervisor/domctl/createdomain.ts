// domctl createdomain: checks what is asked, chooses the id, makes the domain.
import { ArchDomainconfig, CDF, Domctl, DomctlCreatedomain, ERRNO, GRANT_version_mask, X86_EMU } from "../abi";
import { DOMID_FIRST_RESERVED, DOMID_INVALID, MAX_VIRT_CPUS } from "../domain";
import { DomainConfig, domain_create, domid_in_use, next_domid } from "../domain_life";
import { xfree, xzalloc } from "../mm/xmalloc";
import { cpupool_usable } from "../sched/cpupool";
import { Hypervisor, xen } from "../state";

/** Every bit of X86_EMU. */
const X86_EMU_ALL: u32 = 0x7ff;
const DEFAULT_GRANT_FRAMES: u32 = 64;
const DEFAULT_MAPTRACK_FRAMES: u32 = 1024;

/** Flags that a domain may have; an HVM one besides those that make it one. */
const PV_FLAGS: u32 = CDF.xs_domain | CDF.s3_integrity;
const HVM_FLAGS: u32 = CDF.hvm | CDF.hap;

export function createdomain(op: usize): i64 {
  const u = op + Domctl.u;
  const flags = load<u32>(u, DomctlCreatedomain.flags);
  if (flags & ~(CDF.MAX * 2 - 1)) return -ERRNO.EINVAL;
  // Shadow page tables, IOMMUs, nested virtualisation and the virtual PMU are not there.
  if (flags & (CDF.oos_off | CDF.iommu | CDF.nested_virt | CDF.vpmu)) return -ERRNO.EOPNOTSUPP;
  const hvm = (flags & CDF.hvm) != 0;
  if (flags & ~(hvm ? PV_FLAGS | HVM_FLAGS : PV_FLAGS)) return -ERRNO.EINVAL;
  if (hvm && !(flags & CDF.hap)) return -ERRNO.EOPNOTSUPP;
  const arch = u + DomctlCreatedomain.arch;
  const emulation = load<u32>(arch, ArchDomainconfig.emulation_flags);
  if (emulation & ~X86_EMU_ALL || load<u32>(arch, ArchDomainconfig.misc_flags) > 1) return -ERRNO.EINVAL;
  if (!hvm && emulation != 0) return -ERRNO.EINVAL;
  // Of the devices of a PC only a PVH domain's local APIC is there.
  if (hvm && emulation != X86_EMU.LAPIC) return -ERRNO.EOPNOTSUPP;
  if (load<u32>(u, DomctlCreatedomain.vmtrace_size) != 0) return -ERRNO.EINVAL;
  const pool = load<u32>(u, DomctlCreatedomain.cpupool_id);
  if (!cpupool_usable(pool)) return -ERRNO.ENOENT;
  const vcpus = load<u32>(u, DomctlCreatedomain.max_vcpus);
  if (vcpus == 0 || vcpus > MAX_VIRT_CPUS) return -ERRNO.EINVAL;
  const grant_opts = load<u32>(u, DomctlCreatedomain.grant_opts);
  const version = grant_opts & GRANT_version_mask;
  if (grant_opts & ~GRANT_version_mask || version == 0) return -ERRNO.EINVAL;
  if (version > 2) return -ERRNO.EINVAL;
  const c = changetype<DomainConfig>(xzalloc(offsetof<DomainConfig>()));
  if (changetype<usize>(c) == 0) return -ERRNO.ENOMEM;
  c.is_hvm = hvm ? 1 : 0;
  c.emulation_flags = emulation;
  c.max_vcpus = vcpus;
  c.max_evtchn_port = load<u32>(u, DomctlCreatedomain.max_evtchn_port);
  const grants = load<i32>(u, DomctlCreatedomain.max_grant_frames);
  const maptrack = load<i32>(u, DomctlCreatedomain.max_maptrack_frames);
  c.max_grant_frames = grants < 0 ? DEFAULT_GRANT_FRAMES : grants;
  c.max_maptrack_frames = maptrack < 0 ? DEFAULT_MAPTRACK_FRAMES : maptrack;
  c.max_grant_version = version;
  c.createflags = flags;
  c.cpupool = pool;
  c.ssidref = load<u32>(u, DomctlCreatedomain.ssidref);
  c.handle_lo = load<u64>(u, DomctlCreatedomain.handle);
  c.handle_hi = load<u64>(u, DomctlCreatedomain.handle + 8);
  const rc = create(op, c);
  xfree(changetype<usize>(c));
  return rc;
}

function create(op: usize, c: DomainConfig): i64 {
  const id = create_domain_with_id(<u32>load<u16>(op, Domctl.domain), c);
  if (id < 0) return id;
  store<u16>(op, <u32>id, Domctl.domain);
  return 0;
}

/** Makes a domain of the id that is asked for (0, or an id that no domain can have: any). Its id, or -errno. */
export function create_domain_with_id(asked: u32, c: DomainConfig): i64 {
  const busy = changetype<usize>(xen()) + offsetof<Hypervisor>("creating");
  // Ids are chosen one at a time.
  if (atomic.xchg<u32>(busy, 1) != 0) return -ERRNO.EAGAIN;
  let rc: i64 = 0;
  let id = asked;
  if (asked > 0 && asked < DOMID_FIRST_RESERVED) {
    if (domid_in_use(asked)) rc = -ERRNO.EEXIST;
  } else {
    id = next_domid();
    if (id == DOMID_INVALID) rc = -ERRNO.ENOMEM;
  }
  if (rc == 0) rc = changetype<usize>(domain_create(id, c)) == 0 ? -ERRNO.ENOMEM : <i64>id;
  atomic.store<u32>(busy, 0);
  return rc;
}
