/**
 * A domain as its debugger has it: stopped or running as a whole, its vCPUs' registers, its memory, single steps. Works
 * through the domctls that Xen has for gdbsx.
 *
 * Debugged is the guest's kernel: breakpoints and steps of its user mode are the guest's own, as in Xen. Memory is what
 * vCPU 0 maps.
 */
import { ERRNO } from '../../abi/errno.ts';
import { RFLAGS } from '../../engine/flags.ts';
import { HypercallError, type Hypercalls } from '../kernel/hypercalls.ts';
import { REGISTER, REGISTERS } from './registers.ts';

/** A vCPU stopped the domain, with this exception. */
export interface DebugEvent {
  readonly vcpu: number;
  readonly vector: number;
}

/** What a vCPU does when the domain goes on. */
export type Action = 'continue' | 'step' | 'stay';

interface Context {
  readonly bytes: Uint8Array;
  changed: boolean;
}

export class DebugTarget {
  readonly domid: number;
  readonly #xen: Hypercalls;
  readonly #maxVcpus: number;
  /** While stopped: the registers that were looked at. */
  readonly #contexts = new Map<number, Context>();
  /** Pauses of the domain that are ours to take back: our own and those of its events. */
  #pauses = 0;
  /** vCPUs that we hold back while the others run, and those that step. */
  #held: number[] = [];
  #stepping: number[] = [];

  /** The domain is stopped from now on. `maxVcpus`: that it may have. */
  constructor(xen: Hypercalls, domid: number, maxVcpus: number) {
    this.#xen = xen;
    this.domid = domid;
    this.#maxVcpus = maxVcpus;
    xen.domctl.setDebugging(domid, true);
    this.stop();
  }

  get stopped(): boolean {
    return this.#pauses > 0;
  }

  /** vCPUs that have been started; their registers can be read. */
  vcpus(): number[] {
    return Array.from({ length: this.#maxVcpus }, (_, v) => v).filter((v) => this.#context(v) !== undefined);
  }

  /** Stops the domain; returns what stopped it, if anything did before. */
  stop(): DebugEvent[] {
    const { domctl } = this.#xen;
    domctl.pauseDomain(this.domid); // none of its vCPUs runs when this returns
    this.#pauses += 1;
    const events: DebugEvent[] = [];
    for (let e = domctl.debugEvent(this.domid); e; e = domctl.debugEvent(this.domid)) {
      events.push(e);
      this.#pauses += 1;
    }
    for (const vcpu of this.#held.splice(0)) domctl.unpauseVcpu(this.domid, vcpu);
    for (const vcpu of this.#stepping.splice(0)) this.#setTrapFlag(vcpu, false);
    return events;
  }

  /** What has stopped the domain since it was let go; empty: it runs, or is not paused for us. */
  poll(): DebugEvent[] {
    const first = this.#xen.domctl.debugEvent(this.domid);
    if (!first) return [];
    this.#pauses += 1;
    return [first, ...this.stop()];
  }

  /** Lets the vCPUs go, each as `action` says. At least one should not stay. */
  resume(action: (vcpu: number) => Action): void {
    const { domctl } = this.#xen;
    for (let vcpu = 0; vcpu < this.#maxVcpus; vcpu++) {
      const what = action(vcpu);
      if (what === 'stay') {
        if (!this.#hold(vcpu)) continue;
      } else if (what === 'step' && this.#context(vcpu)) {
        this.#setTrapFlag(vcpu, true);
        this.#stepping.push(vcpu);
      }
    }
    this.#flush();
    while (this.#pauses > 0) {
      domctl.unpauseDomain(this.domid);
      this.#pauses -= 1;
    }
  }

  /** The domain goes on by itself, with the debugger gone. */
  detach(): void {
    if (!this.stopped) this.stop();
    this.#xen.domctl.setDebugging(this.domid, false);
    this.resume(() => 'continue');
  }

  /** undefined: the vCPU has not been started. The bytes are struct vcpu_guest_context. */
  context(vcpu: number): Uint8Array | undefined {
    return this.#context(vcpu)?.bytes;
  }

  /** The context that `context` returned was changed. */
  changed(vcpu: number): void {
    const context = this.#context(vcpu);
    if (context) context.changed = true;
  }

  getRip(vcpu: number): bigint {
    const context = this.context(vcpu);
    return context ? Buffer.from(REGISTERS[REGISTER.rip].read(context)).readBigUInt64LE() : 0n;
  }

  setRip(vcpu: number, rip: bigint): void {
    const context = this.context(vcpu);
    if (!context) return;
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(rip);
    REGISTERS[REGISTER.rip].write(context, value);
    this.changed(vcpu);
  }

  /** As much as is there, from the start on. */
  read(address: bigint, length: number): Uint8Array {
    return this.#xen.domctl.readGuest(this.domid, address, length);
  }

  /** Returns the bytes written. */
  write(address: bigint, data: Uint8Array): number {
    return this.#xen.domctl.writeGuest(this.domid, address, data);
  }

  #context(vcpu: number): Context | undefined {
    if (vcpu < 0 || vcpu >= this.#maxVcpus) return undefined;
    const known = this.#contexts.get(vcpu);
    if (known) return known;
    try {
      const context = { bytes: this.#xen.domctl.getVcpuContext(this.domid, vcpu), changed: false };
      this.#contexts.set(vcpu, context);
      return context;
    } catch (error) {
      const absent = error instanceof HypercallError && (error.errno === ERRNO.ENODATA || error.errno === ERRNO.ESRCH);
      if (!absent || !this.#xen.domctl.getDomainInfo(this.domid)) throw error;
      return undefined;
    }
  }

  #setTrapFlag(vcpu: number, on: boolean): void {
    const context = this.#context(vcpu);
    if (!context) return;
    const flags = REGISTERS[REGISTER.eflags].read(context.bytes);
    const word = new DataView(flags.buffer);
    word.setUint32(0, on ? word.getUint32(0, true) | RFLAGS.TF : word.getUint32(0, true) & ~RFLAGS.TF, true);
    REGISTERS[REGISTER.eflags].write(context.bytes, flags);
    context.changed = true;
  }

  #hold(vcpu: number): boolean {
    try {
      this.#xen.domctl.pauseVcpu(this.domid, vcpu);
    } catch (error) {
      if (error instanceof HypercallError && error.errno === ERRNO.EINVAL) return false; // there is no such vCPU
      throw error;
    }
    this.#held.push(vcpu);
    return true;
  }

  /** Writes back the registers that were changed; what is known of them is void from here on. */
  #flush(): void {
    for (const [vcpu, { bytes, changed }] of this.#contexts) {
      if (!changed) continue;
      this.#xen.domctl.setVcpuContext(this.domid, vcpu, (c) => this.#xen.memory.write(c.address, bytes));
    }
    this.#contexts.clear();
  }
}
