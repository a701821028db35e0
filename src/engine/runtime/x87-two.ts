/** What the x87 functions of two operands, with their result in ST(1), share. */
import { fl, unmasked } from './softfloat/percpu';
import { DE, IE, ZE } from './softfloat/flags';
import { invalid80, nan80, propagate80, unsupported80 } from './softfloat/f80';
import { fp_end, pop } from './x87-stack';

/** NaN or unsupported operand: stores the result of two-operand functions; true if done. */
export function special_two(dst: usize, ase: u32, asig: u64, bse: u32, bsig: u64): bool {
  if (unsupported80(ase, asig) || unsupported80(bse, bsig)) {
    invalid80(dst);
    return true;
  }
  if (nan80(ase, asig) || nan80(bse, bsig)) {
    propagate80(dst, ase, asig, bse, bsig);
    return true;
  }
  return false;
}

/** End of an instruction with result in ST(1): pop unless an unmasked exception was found before computing. */
export function finish_two(cpu: usize): u32 {
  if ((fl & unmasked & (IE | DE | ZE)) == 0) pop(cpu);
  return fp_end(cpu);
}
