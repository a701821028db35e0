/**
 * A machine for tests of the hypervisor's memory management: the real hypervisor.wasm over a small memory, with an
 * engine in TypeScript that walks page tables but runs no instructions. A guest is a generator: what it yields are its
 * hypercalls and page faults, made in ring 3 with its own page tables, and it is sent the results.
 */
import { readFileSync } from 'node:fs';
import { ArchDomainconfig, VcpuGuestContext, X86_EMU } from '../../src/abi/arch-x86.ts';
import {
  CDF,
  DOMCTL,
  Domctl,
  DomctlCreatedomain,
  DomctlGetdomaininfo,
  DomctlVcpucontext,
  XEN_DOMCTL_INTERFACE_VERSION,
} from '../../src/abi/domctl.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import {
  MemAcquireResource,
  MemoryReservation,
  XENMEM,
  XENMEM_resource,
  XENMEM_resource_grant_table_id,
} from '../../src/abi/memory.ts';
import { SCHEDOP } from '../../src/abi/sched.ts';
import { SYSCTL, Sysctl, SysctlPhysinfo, XEN_SYSCTL_INTERFACE_VERSION } from '../../src/abi/sysctl.ts';
import { DOMID, HYPERCALL, MmuextOp, MmuUpdate } from '../../src/abi/xen.ts';
import { CpuState, EXIT, GPR, P2M_R, P2M_W } from '../../src/engine/state.ts';
import { MACHINE_INFO_ADDRESS, MACHINE_MAGIC, MachineInfo } from '../../src/machine/layout.ts';

export const PAGE = 4096;
/** Page-table bits. */
export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PSE = 0x80n;
export const G = 0x100n;
export const GUEST_KERNEL = 1n << 52n;
export const NX = 1n << 63n;
const ADDRESS = 0xf_ffff_ffff_f000n;

export const pte = (mfn: number, flags: bigint) => (BigInt(mfn) << 12n) | flags;

/** dom0's arguments are put here, one structure behind the other. */
const ARGS = 0x8_0000;
const ARGS_END = 0xf_0000;
const AREA = 0x10_0000;
const HEAP = AREA + PAGE;
/** Where the engine runtime has its constants; there is none here. Enough for 32768 frames. */
const OWNERS = 0x4_0000;

type Wasm = Record<string, (...a: (number | bigint)[]) => number | bigint>;

/** A hypercall of a guest. */
export interface GuestCall {
  readonly op: number;
  readonly args: readonly (number | bigint)[];
}
/** A page fault of a guest at `rip`; the answer is the rip it goes on at. */
export interface GuestFault {
  readonly va: bigint;
  readonly error: number;
  readonly rip: bigint;
  /** Registers to set first, by number. */
  readonly regs?: Readonly<Record<number, bigint>>;
}
/** Any other way out of guest code: EXIT with its fields; the answer is the rip the guest goes on at. */
export interface GuestExit {
  readonly exit: number;
  readonly vector?: number;
  readonly error?: number;
  readonly length?: number;
  readonly rip?: bigint;
  readonly regs?: Readonly<Record<number, bigint>>;
}
export type GuestScript = Generator<GuestCall | GuestFault | GuestExit, void, bigint>;

/** An engine, and where in machine memory it has its parts. */
export interface Processor {
  readonly area: number;
  readonly areaSize: number;
  readonly owners: number;
  readonly heap: number;
  engine(memory: WebAssembly.Memory): object;
}

export class MmMachine {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** Calls of the engine's TLB functions since the list was last emptied, as text. */
  readonly tlbCalls: string[] = [];
  readonly log: string[] = [];
  /** Events that HVM vCPUs were given: vector, EVENT, has an error code, error code. */
  readonly injected: number[][] = [];
  readonly dom0: Wasm;
  private readonly pcpu: Wasm;
  /** Something else is due on the pCPU whenever the guest makes a hypercall: long ones stop as early as they can. */
  busy = false;
  /** Times that a hypercall stopped and was to be made again. */
  continuations = 0;
  /** Asked at each of them: true if the guest does not go on with it, but with its script (the answer is -ERESTART). */
  abandon = (): boolean => false;
  private script: GuestScript | undefined;
  private awaits: 'nothing' | 'call' | 'fault' = 'nothing';
  private argNext = ARGS;
  /** CpuState of the guest that runs. */
  private running = 0;
  get runningCpu(): number {
    return this.running;
  }

  /** `processor`: what runs guest code, if not this class (engine-machine.ts). */
  constructor(frames = 8192, processor?: Processor) {
    this.memory = new WebAssembly.Memory({ initial: (frames * PAGE) / 65536, maximum: 65536, shared: true });
    this.view = new DataView(this.memory.buffer);
    this.bytes = new Uint8Array(this.memory.buffer);
    const info: Partial<Record<keyof typeof MachineInfo.off, number>> = {
      magic: MACHINE_MAGIC,
      mem_frames: frames,
      pcpus: 1,
      slots: 2,
      area_base: processor?.area ?? AREA,
      code_owners: processor?.owners ?? OWNERS,
      area_size: processor?.areaSize ?? PAGE,
      heap_start: processor?.heap ?? HEAP,
      tsc_khz: 1_000_000,
      check_locks: 1,
    };
    for (const [k, v] of Object.entries(info))
      this.view.setUint32(MACHINE_INFO_ADDRESS + MachineInfo.off[k as keyof typeof MachineInfo.off], v, true);
    const module = new WebAssembly.Module(readFileSync(new URL('../../build/hypervisor.wasm', import.meta.url)));
    this.dom0 = this.instance(module);
    this.dom0.boot(1);
    this.dom0.cpu_init(1, 1);
    this.pcpu = this.instance(module, processor?.engine(this.memory));
    this.pcpu.cpu_init(0, 0);
  }

  private instance(module: WebAssembly.Module, engine: object = this.engine()): Wasm {
    const text = (p: number, n: number) => Buffer.from(this.bytes.slice(p, p + n)).toString();
    const imports = {
      env: {
        memory: this.memory,
        abort: () => {
          throw new Error('abort');
        },
      },
      host: {
        now: () => process.hrtime.bigint(),
        wall: () => 1e18,
        wait: (addr: number, expected: number, timeout: number) => this.idle(addr >>> 2, expected, timeout),
        notify: () => {},
        log: (p: number, n: number) => void this.log.push(text(p, n)),
        panic: (p: number, n: number) => {
          throw new Error(text(p, n));
        },
        random: () => 0n,
      },
      engine,
    };
    return new WebAssembly.Instance(module, imports as never).exports as unknown as Wasm;
  }

  /** Entry for any name: TLB functions are recorded, those that touch guest memory work. */
  private engine(): object {
    const own: Wasm = {
      run: (cpu) => this.run(Number(cpu)),
      guest_read: (cpu, va, to, n) => this.guestCopy(Number(cpu), BigInt(va), Number(to), Number(n), false),
      guest_write: (cpu, va, from, n) => this.guestCopy(Number(cpu), BigInt(va), Number(from), Number(n), true),
      guest_translate: (cpu, va, write) => this.translate(Number(cpu), BigInt(va), Boolean(write)),
      rflags_get: (cpu) => this.view.getBigUint64(Number(cpu) + CpuState.off.rflags, true),
      rflags_set: (cpu, v) => {
        this.view.setBigUint64(Number(cpu) + CpuState.off.rflags, BigInt(v), true);
        return 0;
      },
      hvm_inject: (_cpu, vector, event, hasError, error) => {
        this.injected.push([vector, event, hasError, error].map(Number));
        return 1;
      },
      tlb_switch: (cpu, root) => {
        this.view.setBigUint64(Number(cpu) + CpuState.off.cr3, BigInt(root), true);
        this.tlbCalls.push(`tlb_switch ${Number(root) / PAGE}`);
        return 0;
      },
    };
    return new Proxy(own, {
      get: (t, name: string) =>
        t[name] ??
        ((...a: unknown[]) => {
          if (name.startsWith('tlb_')) this.tlbCalls.push(`${name} ${a.join(' ')}`.trim());
          return 0;
        }),
    });
  }

  private cr3(cpu: number): bigint {
    return this.view.getBigUint64(cpu + CpuState.off.cr3, true);
  }

  /** Machine address of the byte at va as ring 3 may use it, or 0. */
  walk(root: bigint, va: bigint, write: boolean): number {
    let table = root;
    for (const shift of [39n, 30n, 21n, 12n]) {
      const e = this.view.getBigUint64(Number(table) + Number((va >> shift) & 511n) * 8, true);
      if (!(e & P) || !(e & US) || (write && !(e & RW))) return 0;
      table = e & ADDRESS;
      if (shift === 21n && e & PSE) return Number(table | (va & 0x1f_ffffn));
    }
    return Number(table | (va & 0xfffn));
  }

  /** The same of a vCPU's linear address; an HVM container's has its paging off, so that it is a guest-physical one. */
  private translate(cpu: number, va: bigint, write: boolean): number {
    const root = this.view.getUint32(cpu + CpuState.off.p2m, true);
    if (!root) return this.walk(this.cr3(cpu), va, write);
    const entry = this.p2mEntry(root, va >> 12n);
    return entry & (write ? P2M_W : P2M_R) ? (entry & 0xffff_f000) + Number(va & 0xfffn) : 0;
  }

  /** What the p2m with this root says of a gfn, 0: nothing. */
  p2mEntry(root: number, gfn: bigint): number {
    if (gfn >> 21n) return 0;
    const leaf = this.view.getUint32(root + Number(gfn >> 10n) * 4, true);
    return leaf ? this.view.getUint32(leaf + Number(gfn & 1023n) * 4, true) : 0;
  }

  private guestCopy(cpu: number, va: bigint, host: number, n: number, write: boolean): number {
    for (let i = 0; i < n; i++) {
      const at = this.translate(cpu, va + BigInt(i), write);
      if (!at) return n - i;
      if (write) this.bytes[at] = this.bytes[host + i];
      else this.bytes[host + i] = this.bytes[at];
    }
    return 0;
  }

  /** Nothing is to be run for `timeout` ns. A script that waits for a timer gets it; with nothing to run, or not soon, the test goes on. */
  protected idle(word: number, expected: number, timeout: number): void {
    if (!this.script || timeout < 0 || timeout > 1e8) this.stop();
    else Atomics.wait(new Int32Array(this.memory.buffer), word, expected, timeout / 1e6);
  }

  /** The pCPU's loop ends. */
  protected stop(): void {
    this.view.setUint32(MACHINE_INFO_ADDRESS + MachineInfo.off.stop, 1, true);
  }

  // ── dom0 ──────────────────────────────────────────────────────────────────────────────────────────────────

  hypercall(op: number, ...args: (number | bigint)[]): number {
    const five = [...args, 0, 0, 0, 0, 0].slice(0, 5).map((a) => BigInt(a));
    this.argNext = ARGS;
    return Number(this.dom0.hypercall(op, ...five));
  }

  /** Room for dom0's arguments, zeroed, good for one hypercall. */
  arg(size: number): number {
    const at = this.argNext;
    if (at + size > ARGS_END) throw new Error('arguments too large');
    this.argNext += Math.ceil(size / 64) * 64;
    this.bytes.fill(0, at, at + size);
    return at;
  }

  list(values: readonly (number | bigint)[]): number {
    const at = this.arg(values.length * 8);
    values.forEach((v, i) => {
      this.view.setBigUint64(at + i * 8, BigInt(v), true);
    });
    return at;
  }

  domctl(cmd: number, domain: number, fill: (u: number) => void = () => {}): { rc: number; u: number; at: number } {
    const at = this.arg(Domctl.size);
    this.view.setUint32(at + Domctl.off.cmd, cmd, true);
    this.view.setUint32(at + Domctl.off.interface_version, XEN_DOMCTL_INTERFACE_VERSION, true);
    this.view.setUint16(at + Domctl.off.domain, domain, true);
    fill(at + Domctl.off.u);
    return { rc: this.hypercall(HYPERCALL.domctl, at), u: at + Domctl.off.u, at };
  }

  private must(what: string, rc: number): void {
    if (rc !== 0) throw new Error(`${what}: ${rc}`);
  }

  /** A domain with one vCPU and no memory, whose grant table may have either version; PV, or an HVM container. */
  createDomain(maxPages: number, hvm = false): number {
    const off = DomctlCreatedomain.off;
    const { rc, at } = this.domctl(DOMCTL.createdomain, 0, (u) => {
      this.view.setUint32(u + off.max_vcpus, 1, true);
      this.view.setUint32(u + off.max_evtchn_port, 1023, true);
      this.view.setInt32(u + off.max_grant_frames, 4, true);
      this.view.setInt32(u + off.max_maptrack_frames, 4, true);
      this.view.setUint32(u + off.grant_opts, 2, true);
      if (!hvm) return;
      this.view.setUint32(u + off.flags, CDF.hvm | CDF.hap, true);
      this.view.setUint32(u + off.arch + ArchDomainconfig.off.emulation_flags, X86_EMU.LAPIC, true);
    });
    this.must('createdomain', rc);
    const domid = this.view.getUint16(at + Domctl.off.domain, true);
    this.must('max_vcpus', this.domctl(DOMCTL.max_vcpus, domid, (u) => this.view.setUint32(u, 1, true)).rc);
    this.must(
      'max_mem',
      this.domctl(DOMCTL.max_mem, domid, (u) => this.view.setBigUint64(u, BigInt(maxPages * 4), true)).rc,
    );
    return domid;
  }

  destroyDomain(domid: number): void {
    this.park();
    for (let i = 0; i < 1000; i++) {
      const { rc } = this.domctl(DOMCTL.destroydomain, domid);
      if (rc === 0) return;
      if (rc !== -85 && rc !== -11) throw new Error(`destroydomain: ${rc}`);
    }
    throw new Error('destroydomain does not end');
  }

  reservation(cmd: number, domid: number, list: number, n: number, order: number): number {
    const at = this.arg(MemoryReservation.size);
    const off = MemoryReservation.off;
    this.view.setBigUint64(at + off.extent_start, BigInt(list), true);
    this.view.setBigUint64(at + off.nr_extents, BigInt(n), true);
    this.view.setUint32(at + off.extent_order, order, true);
    this.view.setUint16(at + off.domid, domid, true);
    return this.hypercall(HYPERCALL.memory_op, cmd, at);
  }

  /** Gives the domain `n` pages, pfn 0 on; their frames. */
  populate(domid: number, n: number): number[] {
    const list = this.list(Array.from({ length: n }, (_, i) => i));
    const done = this.reservation(XENMEM.populate_physmap, domid, list, n, 0);
    if (done !== n) throw new Error(`populate_physmap: ${done} of ${n}`);
    return Array.from({ length: n }, (_, i) => Number(this.view.getBigUint64(list + i * 8, true)));
  }

  mmuext(cmd: number, arg1: number | bigint, arg2: number | bigint, foreign: number): number {
    return this.hypercall(HYPERCALL.mmuext_op, this.mmuextArg(this.arg(MmuextOp.size), cmd, arg1, arg2), 1, 0, foreign);
  }

  mmuextArg(at: number, cmd: number, arg1: number | bigint, arg2: number | bigint): number {
    this.view.setUint32(at + MmuextOp.off.cmd, cmd, true);
    this.view.setBigUint64(at + MmuextOp.off.arg1, BigInt(arg1), true);
    this.view.setBigUint64(at + MmuextOp.off.arg2, BigInt(arg2), true);
    return at;
  }

  /** mmu_update by dom0 on the tables of `domid`, for pages of the same. */
  mmuUpdate(
    domid: number,
    ...updates: readonly (readonly [ptr: number | bigint, val: bigint])[]
  ): { rc: number; done: number } {
    const at = this.arg(MmuUpdate.size * updates.length);
    updates.forEach(([ptr, val], i) => {
      this.view.setBigUint64(at + i * MmuUpdate.size, BigInt(ptr), true);
      this.view.setBigUint64(at + i * MmuUpdate.size + 8, val, true);
    });
    const pdone = this.arg(4);
    const rc = this.hypercall(HYPERCALL.mmu_update, at, updates.length, pdone, ((domid + 1) << 16) | domid);
    return { rc, done: this.view.getUint32(pdone, true) };
  }

  freeFrames(): number {
    const at = this.arg(Sysctl.size);
    this.view.setUint32(at + Sysctl.off.cmd, SYSCTL.physinfo, true);
    this.view.setUint32(at + Sysctl.off.interface_version, XEN_SYSCTL_INTERFACE_VERSION, true);
    this.must('physinfo', this.hypercall(HYPERCALL.sysctl, at));
    return Number(this.view.getBigUint64(at + Sysctl.off.u + SysctlPhysinfo.off.free_pages, true));
  }

  /** The first frame of the domain's grant table, or of its status frames, as the toolstack learns it. */
  grantFrame(domid: number, id: number = XENMEM_resource_grant_table_id.shared): number {
    const list = this.list([0]);
    const at = this.arg(MemAcquireResource.size);
    const off = MemAcquireResource.off;
    this.view.setUint16(at + off.domid, domid, true);
    this.view.setUint16(at + off.type, XENMEM_resource.grant_table, true);
    this.view.setUint32(at + off.id, id, true);
    this.view.setUint32(at + off.nr_frames, 1, true);
    this.view.setBigUint64(at + off.frame_list, BigInt(list), true);
    this.must('acquire_resource', this.hypercall(HYPERCALL.memory_op, XENMEM.acquire_resource, at));
    return Number(this.view.getBigUint64(list, true));
  }

  /** The frame of shared_info. */
  sharedInfoFrame(domid: number): number {
    const { rc, u } = this.domctl(DOMCTL.getdomaininfo, domid);
    this.must('getdomaininfo', rc);
    return Number(this.view.getBigUint64(u + DomctlGetdomaininfo.off.shared_info_frame, true));
  }

  // ── guest memory, by frame ────────────────────────────────────────────────────────────────────────────────

  entry(mfn: number, i: number): bigint {
    return this.view.getBigUint64(mfn * PAGE + i * 8, true);
  }
  setEntry(mfn: number, i: number, v: bigint): void {
    this.view.setBigUint64(mfn * PAGE + i * 8, v, true);
  }

  // ── guests ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Gives vCPU 0 its state: page tables at `l4`, stack at `sp`. */
  setVcpuContext(domid: number, l4: number, sp: bigint): number {
    const ctxt = this.arg(VcpuGuestContext.size);
    const off = VcpuGuestContext.off;
    this.view.setBigUint64(ctxt + off.flags, 0x24n, true);
    this.view.setBigUint64(ctxt + off.kernel_ss, 0xe02bn, true);
    this.view.setBigUint64(ctxt + off.kernel_sp, sp, true);
    this.view.setBigUint64(ctxt + off.ctrlreg + 3 * 8, BigInt(l4) << 12n, true);
    this.view.setUint16(ctxt + off.user_regs + 136, 0xe033, true);
    return this.domctl(DOMCTL.setvcpucontext, domid, (u) => {
      this.view.setUint32(u + DomctlVcpucontext.off.vcpu, 0, true);
      this.view.setBigUint64(u + DomctlVcpucontext.off.ctxt, BigInt(ctxt), true);
    }).rc;
  }

  unpause(domid: number): void {
    this.must('unpausedomain', this.domctl(DOMCTL.unpausedomain, domid).rc);
  }

  /** Pauses a domain, so that scripts run in another; the vCPU is asked to leave first. */
  domctlPause(domid: number): number {
    this.park();
    return this.domctl(DOMCTL.pausedomain, domid).rc;
  }

  /** Runs the guest's script to its end. The domain stays runnable. */
  guest(script: () => GuestScript): void {
    this.script = script();
    this.awaits = 'nothing';
    this.view.setUint32(MACHINE_INFO_ADDRESS + MachineInfo.off.stop, 0, true);
    this.pcpu.pcpu_main();
    if (this.script) {
      this.script = undefined;
      throw new Error(`the guest's script did not end; the log says:\n${this.log.join('')}`);
    }
  }

  /** Has the guest that the pCPU runs block, so that the pCPU is idle. */
  protected park(): void {
    this.awaits = 'nothing';
    this.go();
  }

  /** The pCPU's loop, until it is stopped. */
  protected go(): void {
    this.view.setUint32(MACHINE_INFO_ADDRESS + MachineInfo.off.stop, 0, true);
    this.pcpu.pcpu_main();
  }

  /** Register of the guest that runs, in its script. */
  guestRegister(n: number): bigint {
    return this.view.getBigUint64(this.running + CpuState.off.gpr + n * 8, true);
  }

  /** Where the guest's rip was at its last hypercall: it is there again if that is to go on. */
  private callRip = 0n;

  private issueCall(cpu: number): number {
    this.callRip = this.view.getBigUint64(cpu + CpuState.off.rip, true);
    const hvm = this.view.getUint32(cpu + CpuState.off.p2m, true) !== 0;
    this.view.setUint32(cpu + CpuState.off.exit_len, hvm ? 3 : 2, true);
    if (this.busy) this.dom0.kick_all();
    return hvm ? EXIT.VMCALL : EXIT.SYSCALL;
  }

  private makeCall(cpu: number, call: GuestCall): number {
    const set = (n: number, v: number | bigint) =>
      this.view.setBigUint64(cpu + CpuState.off.gpr + n * 8, BigInt.asUintN(64, BigInt(v)), true);
    set(GPR.RAX, call.op);
    [GPR.RDI, GPR.RSI, GPR.RDX, GPR.R10, GPR.R8].forEach((r, i) => {
      set(r, call.args[i] ?? 0);
    });
    return this.issueCall(cpu);
  }

  private run(cpu: number): number {
    this.running = cpu;
    const gpr = (n: number) => cpu + CpuState.off.gpr + n * 8;
    const set = (at: number, v: number | bigint) => this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(v)), true);
    if (!this.script) return this.makeCall(cpu, { op: HYPERCALL.sched_op, args: [SCHEDOP.block, 0] });
    let answer = 0n;
    if (this.awaits === 'call') {
      answer = this.view.getBigInt64(gpr(GPR.RAX), true);
      if (this.view.getBigUint64(cpu + CpuState.off.rip, true) === this.callRip) {
        this.continuations++;
        if (!this.abandon()) return this.issueCall(cpu);
        answer = BigInt(-ERRNO.ERESTART);
      }
    }
    if (this.awaits === 'fault') answer = this.view.getBigUint64(cpu + CpuState.off.rip, true);
    const next = this.script.next(answer);
    if (next.done) {
      this.script = undefined;
      this.stop();
      return EXIT.PREEMPT;
    }
    const step = next.value;
    if ('op' in step) {
      this.awaits = 'call';
      return this.makeCall(cpu, step);
    }
    this.awaits = 'fault';
    for (const [r, v] of Object.entries(step.regs ?? {})) set(gpr(Number(r)), v);
    if ('exit' in step) {
      if (step.rip !== undefined) set(cpu + CpuState.off.rip, step.rip);
      this.view.setUint32(cpu + CpuState.off.exit_vector, step.vector ?? 0, true);
      this.view.setUint32(cpu + CpuState.off.exit_error, step.error ?? 0, true);
      this.view.setUint32(cpu + CpuState.off.exit_has_error, step.error === undefined ? 0 : 1, true);
      this.view.setUint32(cpu + CpuState.off.exit_len, step.length ?? 0, true);
      return step.exit;
    }
    set(cpu + CpuState.off.rip, step.rip);
    set(cpu + CpuState.off.cr2, step.va);
    this.view.setUint32(cpu + CpuState.off.exit_vector, 14, true);
    this.view.setUint32(cpu + CpuState.off.exit_error, step.error, true);
    this.view.setUint32(cpu + CpuState.off.exit_has_error, 1, true);
    return EXIT.EXCEPTION;
  }
}

/** A domain with page tables: page i of its memory at linear address i * 4096. */
export interface TestGuest {
  readonly domid: number;
  readonly mfns: readonly number[];
  readonly l4: number;
  readonly l3: number;
  readonly l2: number;
  readonly l1: number;
}

/** A domain of `pages` (at most 512) pages; its first four are its page tables, mapped read-only, the rest read-write. */
export function makeGuest(m: MmMachine, pages = 64): TestGuest {
  const domid = m.createDomain(pages + 64);
  const mfns = m.populate(domid, pages);
  const [l4, l3, l2, l1] = mfns;
  m.setEntry(l4, 0, pte(l3, P | RW | US));
  m.setEntry(l3, 0, pte(l2, P | RW | US));
  m.setEntry(l2, 0, pte(l1, P | RW | US));
  mfns.forEach((mfn, i) => {
    m.setEntry(l1, i, pte(mfn, i < 4 ? P : P | RW));
  });
  return { domid, mfns, l4, l3, l2, l1 };
}

export const SELF = DOMID.SELF;
