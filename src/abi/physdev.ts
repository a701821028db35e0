/** physdev_op (public/physdev.h). */
import { struct } from './layout.ts';

export const PHYSDEVOP = {
  irq_status_query: 5,
  set_iopl: 6,
  set_iobitmap: 7,
  apic_read: 8,
  apic_write: 9,
  alloc_irq_vector: 10,
  free_irq_vector: 11,
  eoi: 12,
  map_pirq: 13,
  unmap_pirq: 14,
  manage_pci_add: 15,
  manage_pci_remove: 16,
  pirq_eoi_gmfn_v1: 17,
  restore_msi: 19,
  manage_pci_add_ext: 20,
  setup_gsi: 21,
  get_free_pirq: 23,
  pci_mmcfg_reserved: 24,
  pci_device_add: 25,
  pci_device_remove: 26,
  restore_msi_ext: 27,
  pirq_eoi_gmfn_v2: 28,
  dbgp_op: 29,
  prepare_msix: 30,
  release_msix: 31,
} as const;

export const PhysdevEoi = struct('physdev_eoi', [['irq', 'u32']]);
export const PhysdevPirqEoiGmfn = struct('physdev_pirq_eoi_gmfn', [['gmfn', 'u64']]);
export const PhysdevIrqStatusQuery = struct('physdev_irq_status_query', [
  ['irq', 'u32'],
  ['flags', 'u32'],
]);
export const XENIRQSTAT = { needs_eoi: 1, shared: 2 } as const;
export const PhysdevSetIopl = struct('physdev_set_iopl', [['iopl', 'u32']]);
export const PhysdevSetIobitmap = struct('physdev_set_iobitmap', [
  ['bitmap', 'u64'],
  ['nr_ports', 'u32'],
]);
export const PhysdevApic = struct('physdev_apic', [
  ['apic_physbase', 'u64'],
  ['reg', 'u32'],
  ['value', 'u32'],
]);
export const PhysdevIrq = struct('physdev_irq', [
  ['irq', 'u32'],
  ['vector', 'u32'],
]);
export const MAP_PIRQ_TYPE = { MSI: 0, GSI: 1, UNKNOWN: 2, MSI_SEG: 3, MULTI_MSI: 4 } as const;
export const PhysdevMapPirq = struct('physdev_map_pirq', [
  ['domid', 'u16'],
  ['type', 'i32'],
  ['index', 'i32'],
  ['pirq', 'i32'],
  ['bus', 'i32'],
  ['devfn', 'i32'],
  ['entry_nr', 'i32'],
  ['table_base', 'u64'],
]);
export const PhysdevUnmapPirq = struct('physdev_unmap_pirq', [
  ['domid', 'u16'],
  ['pirq', 'i32'],
]);
export const PhysdevManagePci = struct('physdev_manage_pci', [
  ['bus', 'u8'],
  ['devfn', 'u8'],
]);
export const PhysdevManagePciExt = struct('physdev_manage_pci_ext', [
  ['bus', 'u8'],
  ['devfn', 'u8'],
  ['is_extfn', 'u32'],
  ['is_virtfn', 'u32'],
  ['physfn_bus', 'u8'],
  ['physfn_devfn', 'u8'],
]);
/** Argument of the old physdev_op_compat; u is that of the operation. */
export const PhysdevOp = struct('physdev_op', [
  ['cmd', 'u32'],
  ['u', PhysdevApic],
]);
export const PhysdevSetupGsi = struct('physdev_setup_gsi', [
  ['gsi', 'i32'],
  ['triggering', 'u8'],
  ['polarity', 'u8'],
]);
export const PhysdevGetFreePirq = struct('physdev_get_free_pirq', [
  ['type', 'i32'],
  ['pirq', 'u32'],
]);
export const PhysdevPciMmcfgReserved = struct('physdev_pci_mmcfg_reserved', [
  ['address', 'u64'],
  ['segment', 'u16'],
  ['start_bus', 'u8'],
  ['end_bus', 'u8'],
  ['flags', 'u32'],
]);
export const PhysdevPciDeviceAdd = struct('physdev_pci_device_add', [
  ['seg', 'u16'],
  ['bus', 'u8'],
  ['devfn', 'u8'],
  ['flags', 'u32'],
  ['physfn_bus', 'u8'],
  ['physfn_devfn', 'u8'],
]);
export const PhysdevPciDevice = struct('physdev_pci_device', [
  ['seg', 'u16'],
  ['bus', 'u8'],
  ['devfn', 'u8'],
]);
export const PhysdevDbgpOp = struct('physdev_dbgp_op', [
  ['op', 'u8'],
  ['bus', 'u8'],
  ['pci', PhysdevPciDevice],
]);
