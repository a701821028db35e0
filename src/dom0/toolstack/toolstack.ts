/**
 * The toolstack: makes, watches and destroys domains (what libxl is to xl). It uses the hypervisor through hypercalls,
 * and the two daemons of the control domain, which serve each domain's XenStore and console rings.
 */
import { TSC_MODE } from '../../abi/domctl.ts';
import { ERRNO } from '../../abi/errno.ts';
import { PHYSCAP } from '../../abi/sysctl.ts';
import { VIRQ } from '../../abi/xen.ts';
import type { EventChannels } from '../kernel/evtchn.ts';
import { HypercallError, type Hypercalls } from '../kernel/hypercalls.ts';
import { ChannelSocket } from '../xenconsoled/channel-socket.ts';
import { Channel, type Serve } from '../xenconsoled/channels.ts';
import type { XenConsoled } from '../xenconsoled/xenconsoled.ts';
import type { XenStore } from '../xenstored/xenstored.ts';
import { BUILDERS, type Builder, type BuiltDomain } from './builder/builder.ts';
import { checkConfig, type DomainConfig, uuidBytes } from './config.ts';
import { findPool } from './cpupools.ts';
import type { Devices } from './devices/devices.ts';
import { Domain, runAll } from './domain.ts';
import { ToolstackError } from './error.ts';
import { EventBus } from './events.ts';
import { type DominfoEntry, dominfo } from './info.ts';
import { type Kernel, KernelError, parseKernel } from './kernel/kernel.ts';
import { place } from './placement.ts';
import { removeDomain, writeControlDomain, writeDomain, writeRings } from './store.ts';

/** The domain that serves consoles and XenStore: this one. */
const CONTROL_DOMAIN = 0;
/** xl's defaults. */
const MAX_EVTCHN_PORT = 1023;
const MAX_GRANT_FRAMES = 64;
const MAX_MAPTRACK_FRAMES = 1024;
/** Memory beyond its maximum that a domain may have, for pages that the hypervisor counts to it. */
export const MAXMEM_SLACK_KIB = 1024;

export interface ToolstackParts {
  readonly xen: Hypercalls;
  readonly events: EventChannels;
  readonly store: XenStore;
  readonly consoles: XenConsoled;
  /** Without it domains have no split devices. */
  readonly devices?: Devices;
}

export class NoDomainError extends ToolstackError {
  constructor(which: number | string) {
    super(
      typeof which === 'number' ? `there is no guest with domain id ${which}` : `there is no domain named ${which}`,
    );
  }
}

/** Runs `step`, which may find the domain gone. */
function ifThere(step: () => void): void {
  try {
    step();
  } catch (e) {
    if (!(e instanceof HypercallError) || e.errno !== ERRNO.ESRCH) throw e;
  }
}

export class Toolstack {
  readonly xen: Hypercalls;
  readonly store: XenStore;
  readonly consoles: XenConsoled;
  readonly bus = new EventBus();
  readonly devices: Devices | undefined;
  /** When the control domain started, in seconds since 1970. */
  readonly startTime = Date.now() / 1000;
  private readonly events: EventChannels;
  private readonly domains = new Map<number, Domain>();
  private readonly virq: number;
  /** Names of domains that are being made. */
  private readonly making = new Set<string>();
  private readonly creations = new Set<Promise<Domain>>();
  private closed = false;

  constructor(parts: ToolstackParts) {
    this.xen = parts.xen;
    this.events = parts.events;
    this.store = parts.store;
    this.consoles = parts.consoles;
    this.devices = parts.devices;
    writeControlDomain(this.store);
    this.virq = this.events.bindVirq(VIRQ.DOM_EXC, () => this.checkDomains());
  }

  /** Domains that this toolstack has made and that are not destroyed, by id. */
  list(): Domain[] {
    return [...this.domains.values()].sort((a, b) => a.domid - b.domid);
  }

  find(name: string): Domain | undefined {
    return this.list().find((d) => d.name === name);
  }

  /** The domain of this id or name; throws ToolstackError. */
  domain(which: number | string): Domain {
    const found = typeof which === 'number' ? this.domains.get(which) : this.find(which);
    if (!found) throw new NoDomainError(which);
    return found;
  }

  /** Every domain of the machine, in the order of their ids; the control domain is the first. */
  domainInfos(): DominfoEntry[] {
    return this.xen.sysctl.domainInfoList().map((info) => dominfo(this, info));
  }

  /** The same of one; throws NoDomainError. */
  domainInfo(which: number | string): DominfoEntry {
    const found = this.domainInfos().find((d) => (typeof which === 'number' ? d.domid : d.name) === which);
    if (!found) throw new NoDomainError(which);
    return found;
  }

  /** Destroys every domain and stops watching. Resolves when no domain is being made any more. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.allSettled(this.creations);
    runAll([() => this.events.unbind(this.virq), ...this.list().map((d) => () => d.destroy())]);
  }

  /** Looks at every domain that was said to have changed (VIRQ_DOM_EXC does not say which). */
  checkDomains(): void {
    for (const d of this.list()) d.observe(this.xen.domctl.getDomainInfo(d.domid));
  }

  /** Called by a domain that is being destroyed. */
  forget(d: Domain): void {
    this.domains.delete(d.domid);
  }

  /**
   * Makes a domain and leaves it paused (`unpause` starts it). Nothing of it remains if this throws: ToolstackError and
   * KernelError for what the user can mend, HypercallError for what the hypervisor refused.
   */
  create(config: DomainConfig): Domain {
    const steps = this.make(config);
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
    }
  }

  /** As `create`, in steps: between them others of this thread get their turn. */
  private async createInSteps(config: DomainConfig): Promise<Domain> {
    const steps = this.make(config);
    for (;;) {
      const step = this.closed ? steps.throw(new ToolstackError('the host is stopping')) : steps.next();
      if (step.done) return step.value;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private *make(config: DomainConfig): Generator<void, Domain> {
    checkConfig(config);
    if (this.find(config.name) || this.making.has(config.name)) {
      throw new ToolstackError(
        `a domain of the name ${config.name} is there already; choose another name or destroy it`,
      );
    }
    const kernel = this.parse(config);
    const plan = { ...config, kernel };
    const type = config.type ?? 'pv';
    const builder = BUILDERS[type];
    builder.check(plan);
    this.checkMemory(builder.startMiB(plan));

    const uuid = (config.uuid ?? crypto.randomUUID()).toLowerCase();
    const undo: (() => void)[] = [];
    this.making.add(config.name);
    try {
      const domid = this.makeDomain(config, builder, uuid);
      undo.push(() => ifThere(() => this.xen.domctl.destroyDomain(domid)));
      undo.push(() => removeDomain(this.store, domid, uuid));
      const maxVcpus = config.maxVcpus ?? config.vcpus;
      this.configure(domid, config, maxVcpus);
      this.xen.memoryOp.setMemoryMap(domid, builder.memoryMap(plan));
      writeDomain(this.store, {
        ...config,
        type,
        domid,
        uuid,
        maxVcpus,
        memoryKiB: config.memoryMiB * 1024,
        maxMemoryKiB: (config.maxMemoryMiB ?? config.memoryMiB) * 1024,
        ramdiskName: config.ramdisk && (config.ramdiskName ?? ''),
      });

      const storePort = this.xen.evtchn.allocUnbound(domid, CONTROL_DOMAIN);
      const consolePort = this.xen.evtchn.allocUnbound(domid, CONTROL_DOMAIN);
      this.xen.domctl.setTscInfo(domid, config.tscMode ?? TSC_MODE.DEFAULT);
      if (config.timeOffset) this.xen.domctl.setTimeOffset(domid, config.timeOffset);
      const built = yield* builder.build(this.xen, domid, {
        ...plan,
        storePort,
        consolePort,
        storeDomid: CONTROL_DOMAIN,
        consoleDomid: CONTROL_DOMAIN,
      });
      writeRings(this.store, domid, { storePort, consolePort, ...built });
      const console = this.attach(domid, config.name, built, storePort, consolePort, undo);
      const channels = this.channels(domid, config, undo);
      undo.push(() => ifThere(() => this.xen.domctl.pauseDomain(domid)));
      undo.push(() => void this.devices?.detachAll(domid));
      const domain = new Domain(this, { domid, uuid, config, console, channels, undo });
      this.domains.set(domid, domain);
      this.bus.emit({ type: 'domain.created', domid, name: config.name, uuid });
      this.bus.emit({ type: 'console', domid, name: config.name, open: true });
      return domain;
    } catch (e) {
      try {
        runAll(undo);
      } catch (second) {
        throw new AggregateError(
          [e, second],
          `${(e as Error).message}; and it could not be undone: ${(second as Error).message}`,
        );
      }
      throw e;
    } finally {
      this.making.delete(config.name);
    }
  }

  /** As `create`, with the domain's devices: resolves when their back ends are ready. Others are served meanwhile. */
  createWithDevices(config: DomainConfig): Promise<Domain> {
    const creation: Promise<Domain> = this.createAll(config).finally(() => this.creations.delete(creation));
    this.creations.add(creation);
    return creation;
  }

  private async createAll(config: DomainConfig): Promise<Domain> {
    const domain = await this.createInSteps(config);
    try {
      await this.devices?.attachAll(domain.domid, config);
      return domain;
    } catch (e) {
      domain.destroy();
      throw e;
    }
  }

  private parse(config: DomainConfig): Kernel {
    try {
      return parseKernel(config.kernel);
    } catch (e) {
      if (e instanceof KernelError) throw new KernelError(`${config.kernelName} ${e.message}`);
      throw e;
    }
  }

  private checkMemory(memoryMiB: number): void {
    const { freePages, totalPages } = this.xen.sysctl.physInfo();
    if (memoryMiB * 256 <= freePages) return;
    const [free, total] = [Math.floor(freePages / 256), Math.floor(totalPages / 256)];
    throw new ToolstackError(
      `memory = ${memoryMiB}: the machine has ${total} MiB, of which ${free} MiB are free; give the domain less, or the machine more`,
    );
  }

  private makeDomain(config: DomainConfig, builder: Builder, uuid: string): number {
    const { capabilities } = this.xen.sysctl.physInfo();
    const { limits = {}, placement } = config;
    return this.xen.domctl.createDomain({
      handle: uuidBytes(uuid),
      flags: builder.flags,
      maxVcpus: config.maxVcpus ?? config.vcpus,
      maxEvtchnPort: limits.eventChannels ? limits.eventChannels - 1 : MAX_EVTCHN_PORT,
      maxGrantFrames: limits.grantFrames ?? MAX_GRANT_FRAMES,
      maxMaptrackFrames: limits.maptrackFrames ?? MAX_MAPTRACK_FRAMES,
      grantVersion: limits.grantVersion ?? (capabilities & PHYSCAP.gnttab_v2 ? 2 : 1),
      cpupool: placement?.pool === undefined ? 0 : findPool(this, placement.pool).id,
      emulationFlags: builder.emulationFlags,
    });
  }

  private configure(domid: number, config: DomainConfig, maxVcpus: number): void {
    const { domctl } = this.xen;
    domctl.setMaxVcpus(domid, maxVcpus);
    place(this, domid, maxVcpus, config.placement);
    domctl.setNodeAffinity(domid, 1n);
    const maxMemKiB = (config.maxMemoryMiB ?? config.memoryMiB) * 1024;
    domctl.setMaxMem(domid, maxMemKiB + MAXMEM_SLACK_KIB);
  }

  /** Connects the daemons to the domain's rings. */
  private attach(
    domid: number,
    name: string,
    built: BuiltDomain,
    storePort: number,
    consolePort: number,
    undo: (() => void)[],
  ) {
    const { memory } = this.xen;
    const ring = (gfn: number, remotePort: number, handler: () => void) => {
      const page = memory.foreignMap(domid, gfn);
      undo.push(() => page.unmap());
      const port = this.events.bindInterdomain(domid, remotePort, handler);
      undo.push(() => this.events.unbind(port));
      return { memory: memory.buffer, address: page.address, notify: () => this.events.notify(port) };
    };
    const storeRing = ring(built.storeGfn, storePort, () => this.store.event(domid));
    this.store.introduce(domid, storeRing);
    undo.push(() => this.store.release(domid));
    const consoleRing = ring(built.consoleGfn, consolePort, () => this.consoles.event(domid));
    const console = this.consoles.introduce(domid, name, consoleRing);
    undo.push(() => this.consoles.release(domid));
    return console;
  }

  /** Consoles besides the first: they wait for the guest's driver. */
  private channels(domid: number, config: DomainConfig, undo: (() => void)[]): Channel[] {
    const { xen, events, store, consoles } = this;
    return (config.channels ?? []).map((c, i) => {
      const id = { kind: 'console', domid, backendDomid: CONTROL_DOMAIN, devid: i + 1 };
      const socket = c.path === undefined ? undefined : ChannelSocket.listen(c.path);
      if (socket) undo.push(() => socket.close());
      const serve: Serve = (page) => consoles.serve(`${config.name}-${c.name}`, page, socket);
      const channel = new Channel({ xen, events, store }, id, c, serve);
      undo.push(() => channel.close());
      return channel;
    });
  }
}
