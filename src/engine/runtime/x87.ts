/** The x87 floating-point unit: helpers that the descriptions in src/engine/semantics/x87*.ts call. */
export {
  fp_push_f32, fp_push_f64, fp_push_int, fp_push_f80, fp_push_st, fp_push_constant, fp_get_f32, fp_get_f64, fp_get_f80, fp_get_int,
  fp_store_st, fp_store_st_quiet, fp_exchange, fp_move_if, fp_free, fp_rotate,
  fp_push_f32_exact, fp_push_f64_exact, fp_push_st_exact, fp_push_constant_exact, fp_get_f32_exact, fp_get_f64_exact,
  fp_exchange_exact,
} from './x87-move';
export {
  fp_add, fp_add_f32, fp_add_f64, fp_mul, fp_mul_f32, fp_mul_f64, fp_div, fp_div_f32, fp_div_f64,
  fp_arith, fp_arith_f32, fp_arith_f64, fp_arith_int, fp_compare, fp_compare_f32, fp_compare_f64, fp_compare_int, fp_compare_flags,
  fp_examine, fp_sign, fp_sqrt,
  fp_compare_exact, fp_compare_flags_exact, fp_sqrt_exact,
} from './x87-arith';
export { fp_rndint, fp_scale, fp_extract, fp_prem, fp_push_bcd, fp_get_bcd } from './x87-round';
export {
  fp_init, fp_clear, fp_set_control, fp_full_tags, fp_store_env, fp_load_env, fp_save, fp_restore,
} from './x87-env';
export { fp_summary, fp_record } from './x87-stack';
export { fp_sin, fp_cos, fp_sincos, fp_ptan } from './x87-trig';
export { fp_2xm1, fp_yl2x, fp_yl2xp1 } from './x87-log';
export { fp_patan } from './x87-atan';
