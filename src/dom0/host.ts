/**
 * A host: a machine with its control domain's services, ready for domains. It outlives any one command: `npm start` holds
 * one for a single guest, a long-running process can hold one for many and serve several faces at once.
 */

import { Machine } from '../machine/machine.ts';
import type { MachineParts } from '../machine/parts.ts';
import { type MachineStats, readStats } from '../machine/stats.ts';
import type { GdbAddress, GdbServer, GdbServers } from './gdbserver/gdbserver.ts';
import type { EventChannels } from './kernel/evtchn.ts';
import type { Hypercalls } from './kernel/hypercalls.ts';
import { createDom0Kernel } from './kernel/kernel.ts';
import type { ServiceClasses } from './services.ts';
import { CrashRecords } from './toolstack/crash.ts';
import type { Devices } from './toolstack/devices/devices.ts';
import type { Domain } from './toolstack/domain.ts';
import { ToolstackError } from './toolstack/error.ts';
import type { Guests } from './toolstack/guests.ts';
import { Toolstack } from './toolstack/toolstack.ts';
import type { TranslationStore } from './translations.ts';
import { XenConsoled } from './xenconsoled/xenconsoled.ts';
import { attachRing } from './xenstored/attach.ts';
import type { XenStoreSocket } from './xenstored/socket.ts';
import { XenStore } from './xenstored/xenstored.ts';

export interface HostOptions {
  /** Address space of the machine in MiB. */
  readonly memoryMiB?: number;
  readonly pcpus?: number;
  readonly deterministic?: boolean;
  /** As in MachineOptions: memory for translated code (0: everything is interpreted). */
  readonly translationMiB?: number;
  /** Keeps translations for the next host: without it each starts anew. Not in deterministic mode. */
  readonly translations?: TranslationStore;
  /**
   * Only `toolstack` is used, for domains without disks, network cards or driver domains: nothing is loaded that more would
   * take, a third of all modules. Nor are the pCPUs waited for (`Machine.started`).
   */
  readonly bare?: boolean;
  /** As in MachineOptions: times for `stats`, other modules than build/'s, memory for instruments. */
  readonly timing?: boolean;
  readonly parts?: MachineParts;
  readonly checkLocks?: boolean;
  readonly reserve?: number;
  /** Where the logs of the consoles and of the hypervisor go, and what crashed domains leave; without it there are none. */
  readonly logDir?: string;
  /** Where xenstored listens for programs of the host (XENSTORED_PATH); without it, it does not. The folder must be there. */
  readonly storeSocket?: string;
  /** The hypervisor's log, as it is written. */
  readonly log?: (text: string) => void;
  /** Things that went wrong in the control domain and that it survived. */
  readonly warn?: (message: string) => void;
}

/** Time until translations are saved for the first time; each further one is twice as late, but for the last. */
const FIRST_SAVE_MS = 3000;
const LAST_SAVE_MS = 300_000;

export class Host {
  readonly machine: Machine;
  readonly xen: Hypercalls;
  readonly store: XenStore;
  readonly consoles: XenConsoled;
  readonly toolstack: Toolstack;
  readonly crashes: CrashRecords;
  /** Undefined: bare. */
  readonly #services: { readonly guests: Guests; readonly devices: Devices; readonly gdb: GdbServers } | undefined;
  readonly #events: EventChannels;
  #storeSocket: XenStoreSocket | undefined;
  readonly #translations: TranslationStore | undefined;
  #stopped: Promise<void> | undefined;
  #saving: NodeJS.Timeout | undefined;

  private constructor(machine: Machine, options: HostOptions, services: ServiceClasses | undefined) {
    const warn = options.warn ?? (() => {});
    this.machine = machine;
    this.#translations = options.deterministic ? undefined : options.translations;
    const kernel = createDom0Kernel(machine, (error) => warn(`event handler: ${(error as Error).stack ?? error}`));
    this.xen = kernel.xen;
    this.#events = kernel.events;
    this.store = new XenStore({
      attach: (domid, gfn, port) => attachRing(kernel, { domid, gfn, port, onEvent: () => this.store.event(domid) }),
    });
    this.consoles = new XenConsoled({
      logDir: options.logDir,
      unlimited: options.deterministic,
      onTty: (domid, path) => this.store.write(`/local/domain/${domid}/console/tty`, path),
      onLogError: (path, error) => warn(`no log in ${path}: ${error.message}`),
    });
    const parts = { xen: this.xen, events: this.#events, store: this.store };
    const domidOf = (name: string) => this.toolstack.find(name)?.domid;
    const devices = services && new services.Devices({ ...parts, machine, warn, domidOf });
    this.toolstack = new Toolstack({ ...parts, consoles: this.consoles, devices });
    this.crashes = new CrashRecords({ xen: this.xen, dir: options.logDir, warn });
    this.#services = services && {
      devices: devices!,
      guests: new services.Guests(this.toolstack, warn, this.crashes),
      gdb: new services.GdbServers(this.xen, this.#events),
    };
    this.#events.start();
    this.#saveLater(FIRST_SAVE_MS);
  }

  /** The rest throws RangeError in a bare host. */
  get guests(): Guests {
    return this.#wanted().guests;
  }

  get devices(): Devices {
    return this.#wanted().devices;
  }

  #wanted() {
    if (!this.#services) throw new RangeError('a bare host has domains and consoles only');
    return this.#services;
  }

  /** Translations are saved now and then, as a host may be killed: often at first, when most of them are made. */
  #saveLater(ms: number): void {
    if (!this.#translations) return;
    this.#saving = setTimeout(async () => {
      const made = await this.machine.translationsSoFar();
      if (this.#stopped) return;
      if (made) await this.#translations?.save(made);
      this.#saveLater(Math.min(2 * ms, LAST_SAVE_MS));
    }, ms);
    this.#saving.unref();
  }

  static async create(options: HostOptions = {}): Promise<Host> {
    const { memoryMiB, pcpus, deterministic, translationMiB, timing, parts, checkLocks, reserve } = options;
    // A deterministic run owes nothing to an earlier one.
    const store = deterministic ? undefined : options.translations;
    const early: string[] = [];
    let keep = (text: string): void => {
      early.push(text);
    };
    const log = (text: string) => {
      keep(text);
      options.log?.(text);
    };
    // Loaded while the pCPUs start.
    const loading = options.bare ? undefined : import('./services.ts');
    loading?.catch(() => {});
    const machine = await Machine.create({
      memoryMiB,
      pcpus,
      deterministic,
      translationMiB,
      translations: store?.load(),
      timing,
      log,
      parts,
      checkLocks,
      reserve,
      early: options.bare,
    });
    try {
      const services = (await loading)?.SERVICES;
      const host = new Host(machine, options, services);
      if (options.storeSocket !== undefined) {
        host.#storeSocket = await services?.XenStoreSocket.listen(host.store, options.storeSocket);
      }
      keep = (text) => host.consoles.hypervisorOutput(text);
      early.forEach(keep);
      return host;
    } catch (error) {
      await machine.stop();
      throw error;
    }
  }

  /** Called if the machine breaks: a panic of the hypervisor, a lost processor. Its domains are lost then. */
  onFailure(callback: (error: Error) => void): void {
    this.machine.onFailure(callback);
  }

  /** Lets gdb debug the domain's kernel, until it ends or the server is closed. ToolstackError: it cannot listen there. */
  async debug(domain: Domain, address: GdbAddress): Promise<GdbServer> {
    if (domain.config.type === 'pvh') throw new ToolstackError('gdb is not supported for PVH guests yet');
    const { domid, config } = domain;
    const maxVcpus = config.maxVcpus ?? config.vcpus;
    const server = await this.#wanted().gdb.open({ domid, maxVcpus, kill: () => domain.destroy() }, address);
    if (domain.gone) {
      server.close();
      throw new ToolstackError(`domain ${domain.name} is gone`);
    }
    void domain.ended.then(() => server.shutdown());
    domain.onDestroy(() => server.exited());
    return server;
  }

  stats(): MachineStats {
    return readStats(this.machine.memory);
  }

  /** Destroys what domains there are and gives everything back. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#saving);
    try {
      await this.#storeSocket?.close();
      this.#services?.gdb.close();
      await this.toolstack.close();
      await this.#services?.devices.close();
    } finally {
      this.#events.stop();
      await this.machine.stop();
      const made = this.machine.translations();
      if (made) await this.#translations?.save(made);
      this.consoles.close();
    }
  }
}
