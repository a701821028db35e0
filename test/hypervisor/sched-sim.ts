/**
 * The real hypervisor.wasm on several pCPUs in simulated time: the pCPUs take turns on one thread, each with a clock of its
 * own, the one that is furthest behind first. Guests run no instructions; what each vCPU does is a generator that yields how
 * long it computes or sleeps. So ten seconds of scheduling take a fraction of one, and give the same result every time.
 */
import { readFileSync } from 'node:fs';
import { CpuUserRegs } from '../../src/abi/arch-x86.ts';
import { SCHEDOP, SchedPoll } from '../../src/abi/sched.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { Hypercalls } from '../../src/dom0/kernel/hypercalls.ts';
import { CpuState, EXIT, GPR } from '../../src/engine/state.ts';
import { MACHINE_INFO_ADDRESS, MACHINE_MAGIC, MachineInfo } from '../../src/machine/layout.ts';

export const US = 1_000;
export const MS = 1_000_000;
export const SEC = 1_000_000_000;

const PAGE = 4096;
const AREA = 0x10_0000;
/** Longest stay in guest code, so that no pCPU's clock runs far ahead of the others'. */
const STEP = 50 * US;
/** What a look at the clock costs: nothing in the hypervisor is for nothing. */
const LOOK = 200;
/** Where guests "have" their hypercall arguments. */
const ARG_VA = 0x5000n;

/** Compute so long, sleep so long (SCHEDOP_poll with a time-out), or give way; all in ns. */
export type Act = { readonly busy: number } | { readonly sleep: number } | { readonly yield: true };
/** What a vCPU does; each yield gives the time at which it goes on. Ends: it sleeps for ever. */
export type Behaviour = Generator<Act, void, number>;

/** Computes for ever. */
export function* busy(): Behaviour {
  for (;;) yield { busy: SEC };
}

/** Sleeps and computes in turn; notes how much later than asked it went on. */
export function* periodic(sleep: number, work: number, late: number[], from = 0): Behaviour {
  let now = yield { sleep: from };
  for (;;) {
    const due = now + sleep;
    now = yield { sleep };
    late.push(now - due);
    now = yield { busy: work };
  }
}

interface SimVcpu {
  readonly behaviour: Behaviour;
  /** ns of computing left. */
  left: number;
  /** Bytes of its hypercall's argument. */
  argument: Uint8Array;
}

type Wasm = Record<string, (...a: (number | bigint)[]) => number | bigint>;

export interface SimOptions {
  readonly pcpus?: number;
  readonly scheduler?: number;
  readonly runqueueCpus?: number;
}

export class SchedSim {
  readonly memory: WebAssembly.Memory;
  readonly xen: Hypercalls;
  readonly log: string[] = [];
  /** The exports of dom0's instance. */
  readonly dom0: Wasm;
  private readonly view: DataView;
  private readonly words: Int32Array;
  private readonly pcpus: Wasm[] = [];
  /** ns; of each pCPU, then dom0's. */
  private readonly clock: number[] = [];
  /** A pCPU that sleeps: until when, and the word that wakes it. */
  private readonly asleep: ({ until: number; word: number; seen: number } | undefined)[] = [];
  /** By address of CpuState; a vCPU is known by its domain and number when it first runs. */
  private readonly known = new Map<number, SimVcpu>();
  private readonly vcpus = new Map<string, SimVcpu>();
  private quiet = false;
  /** Lets the pCPUs go on at a look of dom0's at the clock. */
  private others: (() => void) | undefined;
  /** How fast guest code is. */
  nsPerInstruction = 1;
  /** How often a pCPU has gone through its loop. */
  steps = 0;

  constructor(o: SimOptions = {}) {
    const pcpus = o.pcpus ?? 1;
    const frames = 16384;
    this.memory = new WebAssembly.Memory({ initial: (frames * PAGE) / 65536, maximum: 65536, shared: true });
    this.view = new DataView(this.memory.buffer);
    this.words = new Int32Array(this.memory.buffer);
    const info: Partial<Record<keyof typeof MachineInfo.off, number>> = {
      magic: MACHINE_MAGIC,
      mem_frames: frames,
      pcpus,
      slots: pcpus + 1,
      area_base: AREA,
      area_size: PAGE,
      heap_start: AREA + PAGE * pcpus,
      tsc_khz: 1_000_000,
      sched_id: o.scheduler ?? 0,
      credit2_runqueue_cpus: o.runqueueCpus ?? 0,
    };
    for (const [k, v] of Object.entries(info)) this.info(k as keyof typeof MachineInfo.off, v);
    const module = new WebAssembly.Module(readFileSync(new URL('../../build/hypervisor.wasm', import.meta.url)));
    for (let i = 0; i <= pcpus; i++) this.clock.push(0);
    const dom0 = this.instance(module, pcpus);
    this.dom0 = dom0;
    dom0.boot(pcpus);
    dom0.cpu_init(pcpus, 1);
    for (let i = 0; i < pcpus; i++) {
      this.pcpus.push(this.instance(module, i));
      this.pcpus[i].cpu_init(i, 0);
    }
    this.xen = new Hypercalls({
      memory: this.memory,
      hypercall: (op, a1 = 0n, a2 = 0n, a3 = 0n, a4 = 0n, a5 = 0n) => BigInt(dom0.hypercall(op, a1, a2, a3, a4, a5)),
      hypervisor: { foreign_page: () => 0 },
    });
  }

  private info(name: keyof typeof MachineInfo.off, v: number): void {
    this.view.setUint32(MACHINE_INFO_ADDRESS + MachineInfo.off[name], v, true);
  }

  private instance(module: WebAssembly.Module, slot: number): Wasm {
    const text = (p: number, n: number) =>
      Buffer.from(this.memory.buffer)
        .subarray(p, p + n)
        .toString();
    const engine: Wasm = {
      run: (cpu) => this.run(slot, Number(cpu)),
      guest_read: (cpu, va, to, n) => {
        const arg = this.known.get(Number(cpu))?.argument ?? new Uint8Array();
        const at = Number(BigInt(va) - ARG_VA);
        new Uint8Array(this.memory.buffer).set(arg.subarray(at, at + Number(n)), Number(to));
        return 0;
      },
      rflags_get: () => 0n,
    };
    const imports = {
      env: { memory: this.memory, abort: () => raise('abort') },
      host: {
        now: () => {
          if (slot === this.pcpus.length && this.others) this.others();
          this.clock[slot] += LOOK;
          return BigInt(Math.floor(this.clock[slot]));
        },
        wall: () => 1e18,
        wait: (word: number, seen: number, timeout: number) => {
          const until = timeout < 0 ? Number.POSITIVE_INFINITY : this.clock[slot] + timeout;
          this.asleep[slot] = { until, word: word >>> 2, seen: seen | 0 };
          this.info('stop', 1);
        },
        notify: () => {},
        log: (p: number, n: number) => void this.log.push(text(p, n)),
        panic: (p: number, n: number) => raise(text(p, n)),
        random: () => 0n,
      },
      engine: new Proxy(engine, { get: (t, name: string) => t[name] ?? (() => 0) }),
    };
    return new WebAssembly.Instance(module, imports as never).exports as unknown as Wasm;
  }

  // ── guest code ────────────────────────────────────────────────────────────────────────────────────────────────

  private vcpu(cpu: number): SimVcpu {
    const known = this.known.get(cpu);
    if (known) return known;
    const domid = this.view.getUint32(cpu + CpuState.off.domain, true);
    // A new vCPU's number stands in rdi (see domain below).
    const id = Number(this.view.getBigUint64(cpu + CpuState.off.gpr + GPR.RDI * 8, true));
    const v = this.vcpus.get(`${domid}.${id}`) ?? raise(`vCPU d${domid}v${id}?`);
    this.known.set(cpu, v);
    return v;
  }

  private call(cpu: number, v: SimVcpu, cmd: number, poll = 0): number {
    const set = (n: number, x: number | bigint) =>
      this.view.setBigUint64(cpu + CpuState.off.gpr + n * 8, BigInt(x), true);
    const arg = new DataView(new ArrayBuffer(SchedPoll.size));
    arg.setBigUint64(SchedPoll.off.timeout, BigInt(Math.round(poll)), true);
    v.argument = new Uint8Array(arg.buffer);
    set(GPR.RAX, HYPERCALL.sched_op);
    set(GPR.RDI, cmd);
    set(GPR.RSI, ARG_VA);
    this.view.setUint32(cpu + CpuState.off.exit_len, 2, true);
    return EXIT.SYSCALL;
  }

  private run(slot: number, cpu: number): number {
    const v = this.vcpu(cpu);
    if (this.quiet) return this.call(cpu, v, SCHEDOP.poll, this.clock[slot] + MS);
    while (v.left <= 0) {
      const { value, done } = v.behaviour.next(this.clock[slot]);
      if (done || !value) return this.call(cpu, v, SCHEDOP.block);
      if ('busy' in value) v.left = value.busy;
      else if ('sleep' in value) return this.call(cpu, v, SCHEDOP.poll, this.clock[slot] + value.sleep + 1);
      else return this.call(cpu, v, SCHEDOP.yield);
    }
    // 32 bytes of fuel each.
    const fuel = this.view.getInt32(cpu + CpuState.off.fuel, true);
    const n = Math.max(1, Math.min(v.left, STEP, Math.ceil(fuel / 32)));
    v.left -= n;
    this.clock[slot] += n * this.nsPerInstruction;
    this.view.setInt32(cpu + CpuState.off.fuel, fuel - n * 32, true);
    const icount = cpu + CpuState.off.icount;
    this.view.setBigUint64(icount, this.view.getBigUint64(icount, true) + BigInt(n), true);
    this.info('stop', 1);
    return EXIT.PREEMPT;
  }

  // ── the machine ───────────────────────────────────────────────────────────────────────────────────────────────

  /** The time that every pCPU has reached. */
  get now(): number {
    return this.clock[this.clock.length - 1];
  }

  /** Lets `ns` pass. */
  advance(ns: number): void {
    const dom0 = this.clock.length - 1;
    const end = this.clock[dom0] + ns;
    for (;;) {
      let next = -1;
      let at = end;
      for (let i = 0; i < this.pcpus.length; i++) {
        const s = this.asleep[i];
        if (s && this.words[s.word] !== s.seen) this.asleep[i] = undefined;
        const due = this.asleep[i]?.until ?? this.clock[i];
        if (due < at) {
          at = due;
          next = i;
        }
      }
      if (next < 0) break;
      this.asleep[next] = undefined;
      this.clock[next] = Math.max(this.clock[next], at);
      this.step(next);
    }
    this.clock[dom0] = end;
    // Who slept all the while wakes later than now.
    this.clock.forEach((t, i) => {
      if (t < end) this.clock[i] = end;
    });
  }

  private step(slot: number): void {
    this.steps++;
    this.info('stop', 0);
    this.pcpus[slot].pcpu_main();
    // Whom it woke goes on from here, not from when it fell asleep.
    this.asleep.forEach((s, i) => {
      if (!s || this.words[s.word] === s.seen) return;
      this.asleep[i] = undefined;
      this.clock[i] = Math.max(this.clock[i], this.clock[slot]);
    });
  }

  /**
   * Runs `body` while no vCPU runs: for hypercalls of dom0 that wait for one to stop. Every vCPU is asleep for a millisecond,
   * which nobody counts.
   */
  quiesced<T>(body: () => T): T {
    this.quiet = true;
    this.advance(300 * US);
    const r = body();
    this.quiet = false;
    this.advance(2 * MS);
    return r;
  }

  /** Runs `body` while the pCPUs go on: a millisecond at each of its hypercalls' looks at the clock, where it holds no lock. */
  beside<T>(body: () => T): T {
    const others = () => {
      this.others = undefined;
      this.advance(MS);
      this.others = others;
    };
    this.others = others;
    const r = body();
    this.others = undefined;
    return r;
  }

  /** A domain with a vCPU for each behaviour, running. */
  domain(behaviours: readonly Behaviour[], o: { pool?: number; paused?: boolean } = {}): number {
    const { xen } = this;
    const domid = xen.domctl.createDomain({
      handle: new Uint8Array(16),
      flags: 0,
      maxVcpus: behaviours.length,
      maxEvtchnPort: 127,
      maxGrantFrames: 4,
      maxMaptrackFrames: 4,
      grantVersion: 1,
      cpupool: o.pool ?? 0,
      emulationFlags: 0,
    });
    xen.domctl.setMaxVcpus(domid, behaviours.length);
    xen.domctl.setMaxMem(domid, 64);
    // An empty L4 is a page table as good as any.
    const [l4] = xen.memoryOp.populatePhysmap(domid, [0]);
    behaviours.forEach((behaviour, id) => {
      this.vcpus.set(`${domid}.${id}`, { behaviour, left: 0, argument: new Uint8Array() });
      xen.domctl.setVcpuContext(domid, id, (c) => {
        c.set('flags', 0x24)
          .set('kernel_ss', 0xe02b)
          .set('ctrlreg', BigInt(l4) << 12n, 3);
        // VGCF_online is bit 5: every vCPU is up from the start.
        const regs = c.nested('user_regs', CpuUserRegs);
        regs.set('cs', 0xe033).set('rdi', id);
      });
    });
    if (!o.paused) xen.domctl.unpauseDomain(domid);
    return domid;
  }

  /** ns that a domain (or one vCPU of it) has run. */
  used(domid: number, vcpu?: number): number {
    if (vcpu !== undefined) return Number(this.xen.domctl.getVcpuInfo(domid, vcpu).cpuTime);
    return Number(this.xen.domctl.getDomainInfo(domid)?.cpuTime ?? 0n);
  }

  /** What each domain runs during the next `ns`, in ns. */
  usage(domids: readonly number[], ns: number): number[] {
    const before = domids.map((d) => this.used(d));
    this.advance(ns);
    return domids.map((d, i) => this.used(d) - before[i]);
  }
}

function raise(what: string): never {
  throw new Error(what);
}

/** The p-th percentile (0 to 1). */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}
