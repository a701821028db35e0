/**
 * Driver domains: TypeScript domains with a thread (worker.ts) that runs back ends. Each has an id of its own, holds nothing
 * of its front ends but the pages they granted, and reaches XenStore with its own rights over its own ring.
 *
 * When the thread dies, by a fault of its own or killed, the domain is destroyed, which ends its mappings and closes its
 * event channels, and made again under the same id. The new thread finds the devices in XenStore, and in the journals the
 * requests that were not answered: front ends notice a pause.
 */
import { Worker } from 'node:worker_threads';
import type { DomainThreadData } from '../../machine/domain-thread.ts';
import type { EventChannels } from '../kernel/evtchn.ts';
import type { Hypercalls } from '../kernel/hypercalls.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../kernel/memory.ts';
import type { XenStore } from '../xenstored/xenstored.ts';
import type { DeviceMemories, FromDriver, ToDriver, WorkerStart } from './messages.ts';

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
  readonly warn: (message: string) => void;
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
  readonly #onLost: (reason: string) => void;
  #life: Life | undefined;
  #change: Promise<void> = Promise.resolve();
  #stopping = false;
  #restarts = 0;
  #failures: number[] = [];

  /**
   * Makes the domain and starts its thread. `onLost` is called if it fails too often to be started again. Throws
   * DriverDomainError if there is no room for one more.
   */
  constructor(parts: DriverDomainParts, name: string, onLost: (reason: string) => void) {
    this.#parts = parts;
    this.name = name;
    this.#onLost = onLost;
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

  /** Resolves when no restart is under way. */
  get settled(): Promise<void> {
    return this.#change;
  }

  /**
   * Memory for the rings' journals of device `key` (its path below the domain's home), for its whole life, and what else
   * its back end needs. To be called before the device's nodes are written.
   */
  addDevice(key: string, journalBytes: number, share: unknown): void {
    const memory = { journal: new SharedArrayBuffer(journalBytes), share };
    this.#devices.set(key, memory);
    this.#life?.worker.postMessage({ k: 'device', key, memory } satisfies ToDriver);
  }

  removeDevice(key: string): void {
    this.#devices.delete(key);
  }

  /** Kills the thread where it stands and starts another. What a fault of its own would do; for tests. */
  kill(): Promise<void> {
    return this.#restart();
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
      };
      const worker = new Worker(new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url), {
        workerData: start,
        name: this.name,
      });
      const life: Life = { worker, thread, release, exited: new Promise((r) => worker.once('exit', () => r())) };
      this.#listen(life);
      return life;
    } catch (e) {
      release();
      throw e;
    }
  }

  #listen(life: Life): void {
    const { worker } = life;
    let why = 'its thread ended';
    worker.on('message', (m: FromDriver) => this.#parts.warn(`${this.name}: ${m.text}`));
    worker.on('error', (e) => {
      why = (e as Error).stack ?? `${e}`;
    });
    worker.on('exit', () => {
      if (this.#life !== life) return;
      this.#parts.warn(`driver domain ${this.domid} (${this.name}) failed: ${why}`);
      const t = Date.now();
      this.#failures = [...this.#failures.filter((f) => f > t - FAILURE_WINDOW_MS), t];
      if (this.#failures.length < FAILURES) void this.#restart();
      else {
        this.#change = this.#change.then(() => this.#end()).catch((e) => this.#failed(e));
        this.#onLost(`its back end failed ${FAILURES} times in a row: ${why.split('\n')[0]}`);
      }
    });
  }

  #failed(error: unknown): void {
    this.#parts.warn(`driver domain ${this.domid} (${this.name}): ${(error as Error).stack ?? error}`);
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
    this.#change = this.#change.then(restart).catch((e) => {
      this.#failed(e);
      this.#onLost((e as Error).message);
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
