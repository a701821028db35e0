/** xen_version (public/version.h). */
import { struct } from './layout.ts';

export const XENVER = {
  version: 0,
  extraversion: 1,
  compile_info: 2,
  capabilities: 3,
  changeset: 4,
  platform_parameters: 5,
  get_features: 6,
  pagesize: 7,
  guest_handle: 8,
  commandline: 9,
  build_id: 10,
} as const;

/** Sizes in bytes of the strings that the sub-operations fill in, end of string included. */
export const XENVER_LEN = { extraversion: 16, capabilities: 1024, changeset: 64, commandline: 1024 } as const;

export const CompileInfo = struct('xen_compile_info', [
  ['compiler', 'u8', 64],
  ['compile_by', 'u8', 16],
  ['compile_domain', 'u8', 32],
  ['compile_date', 'u8', 32],
]);

export const PlatformParameters = struct('xen_platform_parameters', [['virt_start', 'u64']]);

export const FeatureInfo = struct('xen_feature_info', [
  ['submap_idx', 'u32'],
  ['submap', 'u32'],
]);

/** `len` bytes follow. */
export const BuildId = struct('xen_build_id', [['len', 'u32']]);
