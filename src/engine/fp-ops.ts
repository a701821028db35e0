/**
 * Numbers of the floating-point operations that descriptions hand to the SIMD helpers of the runtime (fp_ss, fp_sd,
 * fp_ps, fp_pd, fp_convert). One file for both languages: only `export const`.
 */
export const FP_ADD = 0;
export const FP_SUB = 1;
export const FP_MUL = 2;
export const FP_DIV = 3;
export const FP_MIN = 4;
export const FP_MAX = 5;
/** Of the second operand. */
export const FP_SQRT = 6;
/** Even lanes subtract, odd lanes add. */
export const FP_ADDSUB = 7;
/** Plus the predicate of cmpps, 0..7. */
export const FP_CMP = 8;
/** Of the second operand; plus the imm8 of roundps. */
export const FP_ROUND = 16;

export const CVT_PS2PD = 0;
export const CVT_PD2PS = 1;
export const CVT_DQ2PS = 2;
export const CVT_PS2DQ = 3;
export const CVT_TPS2DQ = 4;
export const CVT_PD2DQ = 5;
export const CVT_TPD2DQ = 6;
/** Two of each, from the low half. */
export const CVT_PI2PS = 7;
export const CVT_PS2PI = 8;
export const CVT_TPS2PI = 9;
