/**
 * Scratch registers of the floating-point code: state of the operation in progress, nothing outlives an instruction.
 * (Mutable wasm globals belong to one CPU: each has its own instance.)
 */

/** Exceptions raised by the operation in progress: IE DE ZE OE UE PE SF in x86 bit order (fsw, mxcsr). */
export let fl: u32 = 0;
/** Exceptions that are not masked, same bits: an unmasked underflow is raised for exact results too. */
export let unmasked: u32 = 0;
/** Rounding control as in fcw/mxcsr: 0 nearest even, 1 down, 2 up, 3 to zero. */
export let rc: u32 = 0;
/** The last rounding increased the magnitude (x87 C1). */
export let rup: u32 = 0;
/** MXCSR.FTZ with underflow masked. */
export let ftz: bool = false;
/** SSE exceptions of this instruction, not yet in mxcsr (only when some exception is unmasked). */
export let held: u32 = 0;

// An unpacked finite number that is not zero: (-1)^zs * (zsig.zext) * 2^(ze - 63), bit 63 of zsig set; zext holds 64
// more bits, the lowest one sticky.
export let zs: u32 = 0;
export let ze: i32 = 0;
export let zsig: u64 = 0;
export let zext: u64 = 0;

/** Upper and lower half of a 128-bit result. */
export let hi: u64 = 0;
export let lo: u64 = 0;

/** Result that needs no rounding (binary64 bits). */
export let special: u64 = 0;

/** x87 precision control: 0 single, 2 double, 3 extended (1 is reserved and acts as extended). */
export let pc: u32 = 0;
/** Physical number of ST(0). */
export let top: u32 = 0;

// A number in the 80-bit format: sign and exponent (16 bits), significand; `oden` is DE if it was denormal in the
// format it was converted from.
export let ose: u32 = 0;
export let osig: u64 = 0;
export let oden: u32 = 0;

// Wide numbers of the transcendental functions: (wh:wl) * 2^(we - 127), normalised unless said otherwise; as fractions:
// (wh:wl) * 2^-128. x is an argument, w a result.
export let wh: u64 = 0;
export let wl: u64 = 0;
export let we: i32 = 0;
export let xh: u64 = 0;
export let xl: u64 = 0;
export let xe: i32 = 0;
export let xs: u32 = 0;
