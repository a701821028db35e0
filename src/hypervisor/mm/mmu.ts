// The page-table hypercalls, for the dispatch table.
export { do_mmu_update } from "./mmu_update";
export { do_mmuext_op } from "./mmuext";
export { do_update_va_mapping, do_update_va_mapping_otherdomain } from "./update_va";
