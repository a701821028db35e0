// HYPERVISOR_physdev_op: the part of it that a domain without devices needs (public/physdev.h).
import { ERRNO, PHYSDEVOP, PhysdevSetIobitmap, PhysdevSetIopl } from "../abi";
import { copy_from_guest } from "../guest";
import { current, scratch } from "../percpu";

const MAX_PORTS: u32 = 65536;

export function do_physdev_op(cmd: u32, arg: u64): i64 {
  const v = current;
  switch (cmd) {
    case PHYSDEVOP.set_iopl:
      if (copy_from_guest(scratch, arg, <u32>PhysdevSetIopl.SIZE) != 0) return -ERRNO.EFAULT;
      if (load<u32>(scratch, PhysdevSetIopl.iopl) > 3) return -ERRNO.EINVAL;
      v.iopl = load<u32>(scratch, PhysdevSetIopl.iopl);
      return 0;
    case PHYSDEVOP.set_iobitmap: {
      if (copy_from_guest(scratch, arg, <u32>PhysdevSetIobitmap.SIZE) != 0) return -ERRNO.EFAULT;
      const n = load<u32>(scratch, PhysdevSetIobitmap.nr_ports);
      if (n > MAX_PORTS) return -ERRNO.EINVAL;
      v.iobmp = load<u64>(scratch, PhysdevSetIobitmap.bitmap);
      v.iobmp_limit = n;
      return 0;
    }
    // Interrupt routing and PCI belong to a domain that owns devices.
    case PHYSDEVOP.eoi:
    case PHYSDEVOP.irq_status_query:
      return -ERRNO.EINVAL;
    case PHYSDEVOP.apic_read:
    case PHYSDEVOP.apic_write:
    case PHYSDEVOP.alloc_irq_vector:
    case PHYSDEVOP.map_pirq:
    case PHYSDEVOP.unmap_pirq:
    case PHYSDEVOP.manage_pci_add:
    case PHYSDEVOP.manage_pci_remove:
    case PHYSDEVOP.manage_pci_add_ext:
    case PHYSDEVOP.setup_gsi:
    case PHYSDEVOP.pci_mmcfg_reserved:
    case PHYSDEVOP.pci_device_add:
    case PHYSDEVOP.pci_device_remove:
    case PHYSDEVOP.restore_msi:
    case PHYSDEVOP.restore_msi_ext:
      return -ERRNO.EPERM;
    default:
      return -ERRNO.ENOSYS;
  }
}
