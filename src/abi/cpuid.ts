/** The hypervisor's CPUID leaves (public/arch-x86/cpuid.h). */
export const XEN_CPUID = {
  FIRST_LEAF: 0x4000_0000,
  /** "XenVMMXenVMM" in ebx, ecx, edx of the first leaf. */
  SIGNATURE_EBX: 0x566e_6558,
  SIGNATURE_ECX: 0x6558_4d4d,
  SIGNATURE_EDX: 0x4d4d_566e,
  /** Highest leaf, relative to the first. */
  MAX_NUM_LEAVES: 5,
  /** Leaf 2, ecx. */
  FEAT1_MMU_PT_UPDATE_PRESERVE_AD: 1,
  /** Leaf 5, ebx. */
  MACHINE_ADDRESS_WIDTH_MASK: 0xff,
} as const;

/** Leaf 4, eax (HVM). */
export const XEN_HVM_CPUID = {
  APIC_ACCESS_VIRT: 1 << 0,
  X2APIC_VIRT: 1 << 1,
  IOMMU_MAPPINGS: 1 << 2,
  VCPU_ID_PRESENT: 1 << 3,
  DOMID_PRESENT: 1 << 4,
  EXT_DEST_ID: 1 << 5,
  UPCALL_VECTOR: 1 << 6,
} as const;
