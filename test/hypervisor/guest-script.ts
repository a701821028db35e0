/** Pieces for the scripts of test guests (mm-machine.ts): hypercalls whose arguments lie in the guest's own memory. */
import { HYPERCALL, MmuUpdate } from '../../src/abi/xen.ts';
import { type MmMachine, PAGE, type TestGuest } from './mm-machine.ts';

/** Page of the guest's memory that holds hypercall arguments, and one for its stack. */
export const ARG_PAGE = 20;
export const STACK_PAGE = 21;
export const CODE_PAGE = 22;

/** Linear address of page i of the guest's memory. */
export const va = (page: number, offset = 0) => BigInt(page * PAGE + offset);

export class GuestCalls {
  private readonly m: MmMachine;
  readonly g: TestGuest;
  constructor(m: MmMachine, g: TestGuest) {
    this.m = m;
    this.g = g;
  }

  /** Machine address of the argument page. */
  get argHost(): number {
    return this.g.mfns[ARG_PAGE] * PAGE;
  }

  *call(op: number, ...args: (number | bigint)[]): Generator<never, number, bigint> {
    return Number(yield { op, args } as never);
  }

  *mmuext(
    cmd: number,
    arg1: number | bigint,
    arg2: number | bigint = 0,
    foreign = 0x7ff0,
  ): Generator<never, number, bigint> {
    this.m.mmuextArg(this.argHost, cmd, arg1, arg2);
    return Number(yield { op: HYPERCALL.mmuext_op, args: [va(ARG_PAGE), 1, 0, foreign] } as never);
  }

  *mmuUpdate(ptr: number | bigint, val: bigint, foreign = 0x7ff0): Generator<never, number, bigint> {
    this.m.view.setBigUint64(this.argHost, BigInt(ptr), true);
    this.m.view.setBigUint64(this.argHost + MmuUpdate.off.val, val, true);
    return Number(yield { op: HYPERCALL.mmu_update, args: [va(ARG_PAGE), 1, 0, foreign] } as never);
  }
}

/** Makes the guest's vCPU ready to run on its tables, and the domain runnable. */
export function start(m: MmMachine, g: TestGuest): void {
  const rc = m.setVcpuContext(g.domid, g.l4, va(STACK_PAGE + 1));
  if (rc !== 0) throw new Error(`setvcpucontext: ${rc}`);
  m.unpause(g.domid);
}
