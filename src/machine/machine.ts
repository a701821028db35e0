/**
 * A machine: one shared memory, pCPU workers, and the hypervisor booted on them (docs/architecture.md). The calling thread
 * becomes dom0's: `hypercall` enters the hypervisor on its CPU slot.
 */
import { availableParallelism } from 'node:os';
import { MessageChannel, Worker } from 'node:worker_threads';
import { areaLayout, arenaSize, codeOwnersSize } from '../engine/area.ts';
import { prepareArea } from '../engine/bare.ts';
import { TRANSLATION_MIB } from '../engine/translator/library.ts';
import { type BootTime, bootTime } from './clock.ts';
import { closeGate, type DomainThreadData, newGate } from './domain-thread.ts';
import { askForHugePages } from './huge-pages.ts';
import { createBareThread, type HypervisorExports } from './hypervisor-thread.ts';
import { AREA_BASE, MACHINE_INFO_ADDRESS, MACHINE_MAGIC, MachineInfo } from './layout.ts';
import { loadModule, type MachineParts } from './parts.ts';
import { takePcpuThread } from './pcpu-threads.ts';
import type { FromPcpu, PcpuData } from './pcpu-worker.ts';
import type { SaveReply, SaveRequest, WorkshopData } from './translator-worker.ts';
import type { WorkshopEnd } from './workshop.ts';

export interface MachineOptions {
  /** Machine address space in MiB, 128 to 4096; pages are touched as needed. Default 4096. */
  readonly memoryMiB?: number;
  /** Physical CPUs; default: the host's less one, at least one. */
  readonly pcpus?: number;
  /** Guest time from retired instructions, random numbers from `seed`; needs one pCPU. */
  readonly deterministic?: boolean;
  readonly seed?: number;
  /** Memory for translated code in MiB, on each pCPU; 0: everything is interpreted. Default 200. */
  readonly translationMiB?: number;
  /**
   * What an earlier machine's `translations()` gave; empty: nothing yet. It holds machine code, so it is to be as trusted as
   * a program is. In shared memory threads need no copies of it.
   */
  readonly translations?: Uint8Array;
  /** Panic when the hypervisor takes spinlocks in a wrong order: for tests. */
  readonly checkLocks?: boolean;
  readonly parts?: MachineParts;
  /** Bytes of machine memory kept out of the hypervisor's heap, for instruments; they begin at `Machine.reserved`. */
  readonly reserve?: number;
  /** Scheduler of CPU pool 0 (XEN_SCHEDULER); default: credit2. */
  readonly scheduler?: number;
  /** Most pCPUs that share a runqueue of credit2; default 16. */
  readonly credit2RunqueueCpus?: number;
  /** Have the statistics say how long exits and hypercalls take; each is slower by about 0.2 µs then. */
  readonly timing?: boolean;
  /** Do not wait until the pCPUs run (`started`): domains can be built before. */
  readonly early?: boolean;
  /** Lines of the hypervisor's log. */
  readonly log?: (text: string) => void;
}

/** Guest TSC frequency in kHz: one tick a nanosecond. */
export const TSC_KHZ = 1_000_000;
/** Time of day at boot in deterministic mode: 2020-01-01, in ns since 1970. */
const DETERMINISTIC_WALL = Date.UTC(2020, 0, 1) * 1e6;
/** CPU slots for threads of TypeScript domains besides dom0's. */
const DOMAIN_THREADS = 128;
/** Arena of a thread that never runs guest code. */
const SMALL_ARENA = 1 << 16;

export class Machine {
  readonly memory: WebAssembly.Memory;
  readonly frames: number;
  readonly pcpus: number;
  readonly reserved: number;
  private readonly thread: HypervisorExports;
  private readonly workers: Worker[] = [];
  private workshop: Worker | undefined;
  private readonly i32: Int32Array;
  private readonly boot: BootTime;
  private readonly module: WebAssembly.Module;
  /** Slots that TypeScript domains' threads may take. */
  private readonly freeSlots: number[];
  private stopping = false;
  private failedWith: Error | undefined;
  private readonly failListeners = new Set<(e: Error) => void>();
  /** What each pCPU's decoder counted, known after stop(). */
  readonly decoderStats: Record<string, number>[] = [];
  /** What each pCPU used of the translations of earlier machines, known after stop(). */
  private readonly used: (readonly number[])[] = [];
  private saved: SaveReply;
  /** All pCPUs run; rejected if one failed first. */
  started: Promise<void> = Promise.resolve();

  private constructor(
    memory: WebAssembly.Memory,
    frames: number,
    pcpus: number,
    reserved: number,
    thread: HypervisorExports,
    domains: { boot: BootTime; module: WebAssembly.Module; threads: number },
  ) {
    this.reserved = reserved;
    this.memory = memory;
    this.frames = frames;
    this.pcpus = pcpus;
    this.thread = thread;
    this.i32 = new Int32Array(memory.buffer);
    this.boot = domains.boot;
    this.module = domains.module;
    this.freeSlots = Array.from({ length: domains.threads }, (_, i) => pcpus + domains.threads - i);
  }

  static async create(o: MachineOptions = {}): Promise<Machine> {
    const memoryMiB = o.memoryMiB ?? 4096;
    if (!Number.isInteger(memoryMiB) || memoryMiB < 128 || memoryMiB > 4096) {
      throw new RangeError(`machine memory of ${memoryMiB} MiB: it must be a whole number from 128 to 4096`);
    }
    const pcpus = o.pcpus ?? (o.deterministic ? 1 : Math.max(1, availableParallelism() - 1));
    if (!Number.isInteger(pcpus) || pcpus < 1 || pcpus > 64)
      throw new RangeError(`${pcpus} pCPUs: 1 to 64 are possible`);
    if (o.deterministic && pcpus !== 1) throw new RangeError('deterministic mode needs exactly one pCPU');
    const [hypervisor, runtime] = o.parts
      ? [o.parts.hypervisor, o.parts.runtime]
      : [loadModule('hypervisor.wasm'), loadModule('runtime.wasm')];
    const log = o.log ?? (() => {});
    const boot = o.deterministic ? { ...bootTime(), wall: DETERMINISTIC_WALL } : bootTime();
    const seed = o.deterministic ? (o.seed ?? 1) : undefined;
    const frames = memoryMiB * 256;
    const memory = new WebAssembly.Memory({ initial: memoryMiB * 16, maximum: 65536, shared: true });
    askForHugePages(memory.buffer);
    // What the engines share, then their areas: the pCPUs', then dom0's thread.
    const codeOwners = AREA_BASE;
    const firstArea = AREA_BASE + codeOwnersSize(frames);
    const arena = arenaSize(frames, pcpus);
    const areas: { area: number; arenaSize: number }[] = [];
    let at = firstArea;
    for (let slot = 0; slot <= pcpus; slot++) {
      const size = slot < pcpus ? arena : SMALL_ARENA;
      if (at + areaLayout(at, frames, size).size > memoryMiB * 2 ** 19)
        throw new RangeError(`${pcpus} pCPUs need more than half of a machine memory of ${memoryMiB} MiB`);
      prepareArea(memory, at, frames, { codeOwners, cpu: Math.min(slot, 63), cpus: pcpus }, size);
      areas.push({ area: at, arenaSize: size });
      at += areaLayout(at, frames, size).size;
    }
    const reserved = at;
    at += Math.ceil((o.reserve ?? 0) / 4096) * 4096;
    const info = new DataView(memory.buffer, MACHINE_INFO_ADDRESS);
    const set = (name: keyof typeof MachineInfo.off, v: number) => info.setUint32(MachineInfo.off[name], v, true);
    set('magic', MACHINE_MAGIC);
    set('mem_frames', frames);
    set('pcpus', pcpus);
    const threads = o.deterministic ? 0 : DOMAIN_THREADS;
    set('slots', pcpus + 1 + threads);
    set('area_base', firstArea);
    set('area_size', areaLayout(firstArea, frames, arena).size);
    set('code_owners', codeOwners);
    set('check_locks', o.checkLocks ? 1 : 0);
    set('heap_start', at);
    set('deterministic', o.deterministic ? 1 : 0);
    set('timing', o.timing ? 1 : 0);
    set('tsc_khz', TSC_KHZ);
    set('sched_id', o.scheduler ?? 0);
    set('credit2_runqueue_cpus', o.credit2RunqueueCpus ?? 0);
    info.setBigUint64(MachineInfo.off.boot_ns, boot.mono, true);
    info.setBigUint64(MachineInfo.off.wall_boot_ns, BigInt(Math.round(boot.wall)), true);

    const common = { hypervisor, memory, frames, boot, seed };
    const thread = createBareThread({ ...common, runtime, slot: pcpus, ...areas[pcpus], log });
    thread.boot(pcpus);
    thread.cpu_init(pcpus, 1);
    const m = new Machine(memory, frames, pcpus, reserved, thread, { boot, module: hypervisor, threads });
    // Deterministic mode has translations at the same instructions each time.
    const ends = o.deterministic || o.translationMiB === 0 ? [] : m.startWorkshop(o);
    const { parts, translationMiB, translations } = o;
    const shared = { ...common, parts, translationMiB, translations };
    const pcpu = (a: (typeof areas)[number], slot: number) =>
      m.startPcpu({ ...shared, slot, ...a, workshop: ends[slot] }, log);
    m.started = Promise.all(areas.slice(0, pcpus).map(pcpu)).then(() => {});
    // Who does not wait hears of failures from onFailure.
    m.started.catch(() => {});
    if (!o.early) await m.started;
    return m;
  }

  /** The thread that makes translations; gives each pCPU's end of the way there. */
  private startWorkshop({ translations, translationMiB = TRANSLATION_MIB }: MachineOptions): WorkshopEnd[] {
    const posted = new Int32Array(new SharedArrayBuffer(4 * this.pcpus));
    const channels = Array.from({ length: this.pcpus }, () => new MessageChannel());
    const ports = channels.map((c) => c.port1);
    const workerData: WorkshopData = { memory: this.memory, ports, posted, translations, translationMiB };
    const w = new Worker(new URL(`./translator-worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData,
      transferList: ports,
    });
    w.unref();
    w.on('error', (e) => this.fail(e as Error, () => {}));
    w.on('exit', () => {
      this.workshop = undefined;
    });
    this.workshop = w;
    return channels.map((c, index) => ({ port: c.port2, posted, index }));
  }

  private startPcpu(options: Omit<PcpuData, 'logged'>, log: (t: string) => void): Promise<void> {
    const logged = options.seed === undefined ? undefined : new Int32Array(new SharedArrayBuffer(4));
    const data: PcpuData = { ...options, logged };
    return new Promise((resolve, reject) => {
      const w = takePcpuThread();
      this.workers.push(w);
      w.on('message', (m: FromPcpu) => {
        if (m.k === 'ready') resolve();
        else if (m.k === 'log') {
          log(m.text);
          if (logged) {
            Atomics.add(logged, 0, 1);
            Atomics.notify(logged, 0);
          }
        } else if (m.k === 'stopped') {
          this.decoderStats[data.slot] = m.stats;
          this.used.push(m.used);
        } else this.fail(new Error(`pCPU ${data.slot}: ${m.message}`), reject);
      });
      w.on('error', (e) => this.fail(e as Error, reject));
      w.on('exit', (code) => {
        if (!this.stopping) this.fail(new Error(`pCPU ${data.slot} ended (${code})`), reject);
      });
      w.postMessage(data, options.workshop ? [options.workshop.port] : []);
    });
  }

  private fail(e: Error, reject: (e: Error) => void): void {
    if (this.failedWith) return;
    this.failedWith = e;
    reject(e);
    for (const f of this.failListeners) f(e);
  }

  /** Called (at once, if it already has) when the machine breaks: a panic of the hypervisor or a lost pCPU. */
  onFailure(f: (e: Error) => void): void {
    this.failListeners.add(f);
    if (this.failedWith) f(this.failedWith);
  }

  /** dom0's hypercall; guest handles are machine addresses. */
  hypercall(op: number, a1 = 0n, a2 = 0n, a3 = 0n, a4 = 0n, a5 = 0n): bigint {
    return this.thread.hypercall(op, a1, a2, a3, a4, a5);
  }

  /**
   * A CPU slot for a thread that is to run TypeScript domain `domid`, whose guest handles lie in its own frames `mfn` to
   * `mfn + pages - 1`. The thread calls `enterHypervisor`. Throws RangeError where there are no (more) slots.
   */
  openDomainThread(domid: number, mfn: number, pages: number): DomainThreadData {
    const slot = this.freeSlots.pop();
    if (slot === undefined) throw new RangeError('no CPU slot is left for another driver domain');
    const rc = this.thread.ts_thread_attach(slot, domid, mfn, pages);
    if (rc !== 0) {
      this.freeSlots.push(slot);
      throw new Error(`domain ${domid} cannot be given a thread: error ${-rc}`);
    }
    return { hypervisor: this.module, memory: this.memory, slot, boot: this.boot, gate: newGate() };
  }

  /** Stops a thread: `end` is called when it is outside the hypervisor for good, and is to end it. Gives its slot back. */
  async closeDomainThread(data: DomainThreadData, end: () => Promise<unknown>): Promise<void> {
    await closeGate(data.gate);
    await end();
    this.thread.ts_thread_detach(data.slot);
    this.freeSlots.push(data.slot);
  }

  /** The hypervisor's exports on dom0's CPU slot. */
  get hypervisor(): HypervisorExports {
    return this.thread;
  }

  /** While it runs: as `translations`, of the translations made up to now; undefined: none since the last call. */
  async translationsSoFar(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.stopping ? undefined : this.askWorkshop({});
  }

  private async askWorkshop(request: SaveRequest): Promise<SaveReply> {
    const { workshop } = this;
    if (!workshop) return undefined;
    workshop.postMessage(request);
    return new Promise((resolve) => {
      const done = (reply: SaveReply) => {
        workshop.off('exit', ended);
        resolve(reply);
      };
      const ended = () => {
        workshop.off('message', done);
        resolve(undefined);
      };
      workshop.once('message', done);
      workshop.once('exit', ended);
    });
  }

  /** After stop(): what is worth translating no second time, for MachineOptions.translations; undefined: what that had, and no more. */
  translations(): Uint8Array<ArrayBuffer> | undefined {
    return this.saved;
  }

  /** Stop every pCPU and give the workers back. Guests are not asked. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    Atomics.store(this.i32, (MACHINE_INFO_ADDRESS + MachineInfo.off.stop) >>> 2, 1);
    const kick = this.thread.kick_all as (() => void) | undefined;
    kick?.();
    await Promise.all(
      this.workers.map(
        (w) =>
          new Promise<void>((resolve) => {
            const late = setTimeout(() => void w.terminate(), 2000);
            w.once('exit', () => {
              clearTimeout(late);
              resolve();
            });
          }),
      ),
    );
    this.saved = await this.askWorkshop({ used: this.used });
    await this.workshop?.terminate();
  }
}
