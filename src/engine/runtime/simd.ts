/** MMX and SSE helpers that descriptions call. */
export { fp_convert, fp_dppd, fp_dpps, fp_pd, fp_ps, fp_sd, fp_ss } from './simd/fp';
export { mmx_state } from './simd/image';
export { f32_rcp, f32_rsqrt } from './simd/approx';
export { pcmpstr } from './simd/strcmp';
export { crc32c } from './simd/crc32c';
export { fence, maskmov } from './simd/maskmov';
export { fxrstor, fxsave } from './simd/fxsave';
export { xrstor, xsave } from './simd/xsave';
