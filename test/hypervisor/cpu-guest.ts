/** What tests of traps, events and time share: a guest that is ready to run, its vCPU's registers, and dom0's calls. */
import { SharedInfo, VcpuInfo } from '../../src/abi/xen.ts';
import { CpuState, GPR } from '../../src/engine/state.ts';
import { GuestCalls, start } from './guest-script.ts';
import { type GuestExit, type GuestScript, MmMachine, makeGuest, PAGE, type TestGuest } from './mm-machine.ts';

export class CpuGuest {
  readonly m: MmMachine;
  readonly g: TestGuest;
  readonly c: GuestCalls;

  constructor() {
    this.m = new MmMachine();
    this.g = makeGuest(this.m);
    this.c = new GuestCalls(this.m, this.g);
    start(this.m, this.g);
  }

  /** Runs a script that collects results. */
  results(script: (r: number[]) => GuestScript): number[] {
    const r: number[] = [];
    this.m.guest(() => script(r));
    return r;
  }

  // ── the vCPU while its script runs ──
  get cpu(): number {
    return this.m.runningCpu;
  }
  field(name: keyof typeof CpuState.off): bigint {
    return this.m.view.getBigUint64(this.cpu + CpuState.off[name], true);
  }
  setField(name: keyof typeof CpuState.off, v: bigint): void {
    this.m.view.setBigUint64(this.cpu + CpuState.off[name], BigInt.asUintN(64, v), true);
  }
  reg(n: number): bigint {
    return this.m.view.getBigUint64(this.cpu + CpuState.off.gpr + n * 8, true);
  }
  setReg(n: number, v: bigint): void {
    this.m.view.setBigUint64(this.cpu + CpuState.off.gpr + n * 8, BigInt.asUintN(64, v), true);
  }
  sel(n: number): number {
    return this.m.view.getUint16(this.cpu + CpuState.off.sel + n * 2, true);
  }

  /** n words from the guest's rsp up. */
  stack(n: number): bigint[] {
    const rsp = this.reg(GPR.RSP);
    return Array.from({ length: n }, (_, i) => this.m.view.getBigUint64(this.host(rsp + BigInt(i * 8)), true));
  }

  /** Machine address of a linear address of the guest's. */
  host(va: bigint): number {
    const at = this.m.walk(this.m.view.getBigUint64(this.cpu + CpuState.off.cr3, true), va, false);
    if (!at) throw new Error(`nothing is mapped at ${va.toString(16)}`);
    return at;
  }

  // ── shared_info ──
  get shared(): number {
    return this.m.sharedInfoFrame(this.g.domid) * PAGE;
  }
  upcallPending(shared: number): number {
    return this.m.bytes[shared + VcpuInfo.off.evtchn_upcall_pending];
  }
  setMask(shared: number, on: boolean): void {
    this.m.bytes[shared + VcpuInfo.off.evtchn_upcall_mask] = on ? 1 : 0;
  }
  mask(shared: number): number {
    return this.m.bytes[shared + VcpuInfo.off.evtchn_upcall_mask];
  }
  isPending(shared: number, port: number): boolean {
    return (this.m.bytes[shared + SharedInfo.off.evtchn_pending + (port >> 3)] & (1 << (port & 7))) !== 0;
  }

  /** Leaves guest code as told; the answer is the rip it goes on at. */
  *leave(exit: GuestExit): Generator<never, bigint, bigint> {
    return yield exit as never;
  }
}
