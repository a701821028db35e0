/**
 * Driver domains: TypeScript domains with a thread (worker.ts) that runs back ends. Each has an id of its own, holds nothing
 * of its front ends but the pages they granted, and reaches XenStore with its own rights over its own ring.
 *
 * When the thread dies, by a fault of its own or killed, the domain is destroyed, which ends its mappings and closes its
 * event channels, and made again under the same id. The new thread finds the devices in XenStore, and in the journals the
 * requests that were not answered: front ends notice a pause. A domain that fails too often is lost: one more thread answers
 * what is left, and what still comes, with errors.
 */
import type { Worker } from 'node:worker_threads';
import type { DomainThreadData } from '../../machine/domain-thread.ts';
import type { EventChannels } from '../kernel/evtchn.ts';
import type { Hypercalls } from '../kernel/hypercalls.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../kernel/memory.ts';
import type { XenStore } from '../xenstored/xenstored.ts';
import type { DeviceMemories, DeviceMemory, FromDriver, ToDriver, WorkerStart } from './messages.ts';
import type { DriverThreads } from './threads.ts';

/** Frames of its own: the ring to xenstored, then memory for hypercall arguments. */
const FRAMES_ORDER = 4;
const FRAMES = 1 << FRAMES_ORDER;
const MAX_EVTCHN_PORT = 1023;
/** Pages of maptrack, of 256 mappings each. */
const MAX_MAPTRACK_FRAMES = 256;
/** A thread that fails so often within so many ms is not started again. */
const FAILURES = 5;
const FAILURE_WINDOW_MS = 10_000;

/** What a driver domain needs of the host it is part of. */
export interface DriverDomainParts {
  readonly machine: {
    readonly hypervisor: { ts_domain_create(asked: number, maxPort: number, maxMaptrack: number): number };
    openDomainThread(domid: number, mfn: number, pages: number): DomainThreadData;
    closeDomainThread(data: DomainThreadData, end: () => Promise<unknown>): Promise<void>;
  };
  readonly xen: Hypercalls;
  readonly events: EventChannels;
  readonly store: XenStore;
  readonly threads: DriverThreads;
  readonly warn: (message: string) => void;
}

/** What becomes of a domain that failed too often; `reason` for the user. */
export interface DriverDomainEvents {
  /** Its back ends answer with errors from now on, where they can (BackendKind.createLost). */
  readonly onLost: (reason: string) => void;
  /** Even that failed: there is no thread any more. */
  readonly onDead: (reason: string) => void;
}

export class DriverDomainError extends Error {
  override readonly name = 'DriverDomainError';
}

/** One life of the domain: what a new one replaces. */
interface Life {
  readonly worker: Worker;
  readonly exited: Promise<void>;
  readonly thread: DomainThreadData;
  /** Undoes what dom0 holds of it. */
  readonly release: () => void;
}

export class DriverDomain {
  readonly domid: number;
  readonly name: string;
  readonly #parts: DriverDomainParts;
  readonly #devices: DeviceMemories = new Map();
  readonly #on: DriverDomainEvents;
  #life: Life | undefined;
  #change: Promise<void> = Promise.resolve();
  #stopping = false;
  #restarts = 0;
  #failures: number[] = [];
  #lost: string | undefined;

  /** Makes the domain and starts its thread. Throws DriverDomainError if there is no room for one more. */
  constructor(parts: DriverDomainParts, name: string, on: DriverDomainEvents) {
    this.#parts = parts;
    this.name = name;
    this.#on = on;
    this.domid = this.#create(0);
    const home = `/local/domain/${this.domid}`;
    parts.store.transaction((t) => {
      t.mkdir(home, `n0,r${this.domid}`);
      t.write(`${home}/name`, name, `n0,r${this.domid}`);
      t.write(`${home}/domid`, `${this.domid}`, `n0,r${this.domid}`);
      for (const dir of ['backend', 'error']) t.mkdir(`${home}/${dir}`, `n${this.domid}`);
    });
    try {
      this.#life = this.#start();
    } catch (e) {
      parts.store.rm(home);
      parts.xen.domctl.destroyDomain(this.domid);
      throw e;
    }
  }

  /** How often the thread was started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Why its back ends do nothing but refuse; undefined: they work. */
  get lost(): string | undefined {
    return this.#lost;
  }

  /** Resolves when no restart is under way. */
  get settled(): Promise<void> {
    return this.#change;
  }

  /**
   * Memory of device `key` (its path below the domain's home) for its whole life. To be called before the device's nodes
   * are written.
   */
  addDevice(key: string, memory: DeviceMemory): void {
    this.#devices.set(key, memory);
    this.#life?.worker.postMessage({ k: 'device', key, memory } satisfies ToDriver);
  }

  removeDevice(key: string): void {
    this.#devices.delete(key);
  }

  /** Kills the thread where it stands and starts another; this counts as no failure. For tests. */
  kill(): Promise<void> {
    return this.#restart();
  }

  /** Ends the thread as a fault of its own would. For tests. */
  fail(why: string): Promise<void> {
    this.#failed(why);
    return this.#change;
  }

  /** Ends the domain. Its devices should be gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#change;
    await this.#end();
    const { store, xen } = this.#parts;
    store.release(this.domid);
    if (store.exists(`/local/domain/${this.domid}`)) store.rm(`/local/domain/${this.domid}`);
    xen.domctl.destroyDomain(this.domid);
  }

  #create(asked: number): number {
    const domid = this.#parts.machine.hypervisor.ts_domain_create(asked, MAX_EVTCHN_PORT, MAX_MAPTRACK_FRAMES);
    if (domid < 0) throw new DriverDomainError(`a driver domain for ${this.name} cannot be made: error ${-domid}`);
    return domid;
  }

  #start(): Life {
    const { machine, xen, events, store } = this.#parts;
    const { domid } = this;
    const undo: (() => void)[] = [];
    const release = () => {
      for (const step of undo.splice(0).reverse()) step();
    };
    try {
      xen.domctl.setMaxMem(domid, (FRAMES * PAGE_SIZE) / 1024);
      const [mfn] = xen.memoryOp.populatePhysmap(domid, [0], FRAMES_ORDER);
      const info = xen.domctl.getDomainInfo(domid);
      if (mfn === undefined || !info) throw new DriverDomainError(`no memory for a driver domain for ${this.name}`);
      const address = mfn << PAGE_SHIFT;
      const page = xen.memory.foreignMap(domid, mfn);
      undo.push(() => page.unmap());
      xen.memory.fill(page.address, PAGE_SIZE);
      const storePort = xen.evtchn.allocUnbound(domid, 0);
      const port = events.bindInterdomain(domid, storePort, () => store.event(domid));
      undo.push(() => events.unbind(port));
      store.introduce(domid, {
        memory: xen.memory.buffer,
        address: page.address,
        notify: () => events.notify(port),
      });
      const thread = machine.openDomainThread(domid, mfn, FRAMES);
      const start: WorkerStart = {
        kernel: {
          thread,
          domid,
          sharedInfo: Number(info.sharedInfoFrame) * PAGE_SIZE,
          buffer: { address: (address >>> 0) + PAGE_SIZE, size: (FRAMES - 1) * PAGE_SIZE },
          store: { address: page.address, port: storePort },
        },
        devices: this.#devices,
        lost: this.#lost !== undefined,
      };
      const worker = this.#parts.threads.take();
      const life: Life = { worker, thread, release, exited: new Promise((r) => worker.once('exit', () => r())) };
      this.#listen(life);
      worker.postMessage(start);
      return life;
    } catch (e) {
      release();
      throw e;
    }
  }

  #listen(life: Life): void {
    const { worker } = life;
    let why = 'its thread ended';
    worker.on('message', (m: FromDriver) => {
      if (m.k === 'up') this.#parts.threads.prepare();
      else this.#parts.warn(`${this.name}: ${m.text}`);
    });
    worker.on('error', (e) => {
      why = (e as Error).stack ?? `${e}`;
    });
    worker.on('exit', () => {
      if (this.#life === life) this.#failed(why);
    });
  }

  /** The thread has ended by itself, or is taken to have. */
  #failed(why: string): void {
    this.#tell(`failed: ${why}`);
    if (this.#lost !== undefined) {
      this.#change = this.#change.then(() => this.#end()).catch((e) => this.#tell(e.stack));
      this.#on.onDead(this.#lost);
      return;
    }
    const t = Date.now();
    this.#failures = [...this.#failures.filter((f) => f > t - FAILURE_WINDOW_MS), t];
    if (this.#failures.length >= FAILURES) {
      this.#lost = `its back end failed ${FAILURES} times in a row: ${why.split('\n')[0]}`;
      this.#tell('failed too often: its devices answer with errors from now on');
      this.#on.onLost(this.#lost);
    }
    void this.#restart();
  }

  #tell(what: string): void {
    this.#parts.warn(`driver domain ${this.domid} (${this.name}) ${what}`);
  }

  /** One after the other, should another fault come meanwhile. */
  #restart(): Promise<void> {
    const restart = async () => {
      if (this.#stopping) return;
      await this.#end();
      this.#parts.xen.domctl.destroyDomain(this.domid);
      this.#create(this.domid);
      this.#restarts += 1;
      this.#life = this.#start();
    };
    this.#change = this.#change.then(restart).catch((e: Error) => {
      this.#tell(`cannot be started again: ${e.stack}`);
      this.#lost ??= e.message;
      this.#on.onDead(this.#lost);
    });
    return this.#change;
  }

  /** The thread has ended and dom0 holds nothing of the domain. */
  async #end(): Promise<void> {
    const life = this.#life;
    if (!life) return;
    this.#life = undefined;
    await this.#parts.machine.closeDomainThread(life.thread, async () => {
      await life.worker.terminate();
      await life.exited;
    });
    life.release();
  }
}
