/**
 * The x87 FPU (Intel SDM vol. 1 chapter 8): descriptions are thin, the work is done by the helpers of
 * src/engine/runtime/x87*.ts on the register stack in CpuState.
 *
 * Every instruction but the "fn" ones is waiting: an exception left pending by an earlier instruction is raised first, as
 * #MF (CR0.NE is always 1). Helpers that compute return 1 when they recorded an unmasked exception; then FIP, FDP and
 * FOP are brought up to date (see runtime/x87-stack.ts).
 */
import type { Insn } from './table.ts';
import { x87Arith } from './x87-arith.ts';
import { x87Control } from './x87-control.ts';
import { x87Move } from './x87-move.ts';

export const x87: Insn[] = [...x87Arith, ...x87Move, ...x87Control];
