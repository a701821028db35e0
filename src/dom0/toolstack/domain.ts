/** A running domain, as the toolstack keeps it. */
import { SHUTDOWN } from '../../abi/sched.ts';
import type { DomainInfo } from '../kernel/hypercalls/domctl.ts';
import type { Channel } from '../xenconsoled/channels.ts';
import type { Console } from '../xenconsoled/xenconsoled.ts';
import type { BootImages, DomainConfig, DomainSettings } from './config.ts';
import { ToolstackError } from './error.ts';
import type { DomainState } from './events.ts';
import type { DomainSpec } from './spec.ts';
import { domainPath, vmPath } from './store.ts';
import type { Toolstack } from './toolstack.ts';

/** Why a domain ended: what it said (SHUTDOWN), or that it was destroyed. */
export type DomainEnd = 'poweroff' | 'reboot' | 'suspend' | 'crash' | 'watchdog' | 'soft-reset' | 'destroyed';

const END = new Map<number, DomainEnd>([
  [SHUTDOWN.poweroff, 'poweroff'],
  [SHUTDOWN.reboot, 'reboot'],
  [SHUTDOWN.suspend, 'suspend'],
  [SHUTDOWN.crash, 'crash'],
  [SHUTDOWN.watchdog, 'watchdog'],
  [SHUTDOWN.soft_reset, 'soft-reset'],
]);

/** An unknown reason counts as a crash, as with xl. */
export const endOf = (info: DomainInfo): DomainEnd => END.get(info.shutdownReason) ?? 'crash';

export class Domain {
  readonly domid: number;
  readonly uuid: string;
  readonly config: DomainSettings;
  /** What it was booted from, some tens of MB; undefined where its next incarnation reads the files anew. */
  images: BootImages | undefined;
  readonly console: Console;
  /** Its other consoles, as configured and in that order. */
  readonly channels: readonly Channel[];
  /** What the user asked for, where that came as a spec. What it has now: retrieve.ts. */
  spec: DomainSpec | undefined;
  /** What its next incarnation is made from instead of what it has now (xl config-update). */
  nextSpec: DomainSpec | undefined;
  /** Resolves when the domain has shut down by itself, crashed, or was destroyed. It still exists unless destroyed. */
  readonly ended: Promise<DomainEnd>;
  private readonly toolstack: Toolstack;
  private resolveEnded!: (end: DomainEnd) => void;
  private undo: (() => void)[];
  private end: DomainEnd | undefined;
  private currentName: string;

  /** Made by Toolstack.create. `undo`: what takes the domain apart, to be run last to first. */
  constructor(
    toolstack: Toolstack,
    made: {
      domid: number;
      uuid: string;
      config: DomainConfig;
      console: Console;
      channels: readonly Channel[];
      undo: (() => void)[];
    },
  ) {
    this.toolstack = toolstack;
    this.domid = made.domid;
    this.uuid = made.uuid;
    const { kernel, ramdisk, ...settings } = made.config;
    this.config = settings;
    this.images = { kernel, ramdisk };
    this.console = made.console;
    this.channels = made.channels;
    this.undo = made.undo;
    this.currentName = made.config.name;
    this.ended = new Promise((resolve) => {
      this.resolveEnded = resolve;
    });
  }

  /** That of its configuration, unless it was renamed. */
  get name(): string {
    return this.currentName;
  }

  /** Its console of that number: 0 is the first, the others are its channels. Throws ToolstackError. */
  consoleAt(number: number): Console {
    if (number === 0) return this.console;
    const channel = this.channels.find((c) => c.id.devid === number);
    if (!channel) {
      throw new ToolstackError(`domain ${this.name} has no console ${number}; its last is ${this.channels.length}`);
    }
    if (!channel.console) throw new ToolstackError(`console ${number} of ${this.name}: the guest has not connected it`);
    return channel.console;
  }

  /** It was made from `spec`: its next incarnation is too, so that its images need not be kept. */
  readAnew(spec: DomainSpec): void {
    this.spec = spec;
    this.images = undefined;
  }

  rename(name: string): void {
    if (this.toolstack.find(name)) throw new ToolstackError(`a domain of the name ${name} is there already`);
    const oldName = this.currentName;
    this.currentName = name;
    this.toolstack.store.transaction((t) => {
      for (const path of [domainPath(this.domid), vmPath(this.uuid)]) t.write(`${path}/name`, name);
    });
    this.toolstack.bus.emit({ type: 'domain.renamed', domid: this.domid, name, oldName });
  }

  /** Has it been destroyed? */
  get gone(): boolean {
    return this.undo.length === 0;
  }

  /** `step` runs when the domain is destroyed, while it is still there. */
  onDestroy(step: () => void): void {
    this.undo.push(step);
  }

  info(): DomainInfo | undefined {
    return this.gone ? undefined : this.toolstack.xen.domctl.getDomainInfo(this.domid);
  }

  unpause(): void {
    this.toolstack.xen.domctl.unpauseDomain(this.domid);
    this.tell('running');
  }

  pause(): void {
    this.toolstack.xen.domctl.pauseDomain(this.domid);
    this.tell('paused');
  }

  /** Has its kernel said that it listens for such requests? */
  listensFor(how: 'poweroff' | 'reboot' | 'halt' | 'suspend'): boolean {
    const feature = how === 'halt' ? 'poweroff' : how;
    return this.toolstack.store.tryRead(`${domainPath(this.domid)}/control/feature-${feature}`) === '1';
  }

  /**
   * Asks the guest's kernel (control/shutdown in XenStore) to stop. It may take its time, or ignore it; one that is still
   * booting finds the request later.
   */
  requestShutdown(how: 'poweroff' | 'reboot' | 'halt' | 'suspend'): void {
    this.toolstack.store.write(`${domainPath(this.domid)}/control/shutdown`, how);
  }

  /** Stops it at once and gives back all that it has. */
  destroy(): void {
    if (this.gone) return;
    const undo = this.undo;
    this.undo = [];
    this.toolstack.forget(this);
    try {
      runAll(undo);
    } finally {
      this.finish('destroyed');
      this.toolstack.bus.emit({ type: 'console', domid: this.domid, name: this.name, open: false });
      this.tell('destroyed', this.end);
    }
  }

  /** The toolstack saw what the hypervisor says of it now. */
  observe(info: DomainInfo | undefined): void {
    if (this.gone) return;
    if (!info || info.dying) this.destroy();
    else if (info.shutdown && this.end === undefined) {
      this.toolstack.store.shutdown(this.domid);
      this.toolstack.consoles.event(this.domid);
      this.finish(endOf(info));
      this.tell('shutdown', this.end);
    }
  }

  /** The toolstack has looked at why it crashed. */
  tellCrash(cause: string): void {
    this.toolstack.bus.emit({ type: 'domain.crashed', domid: this.domid, name: this.name, cause });
  }

  private tell(state: DomainState, reason?: DomainEnd): void {
    this.toolstack.bus.emit({ type: 'domain.state', domid: this.domid, name: this.name, state, reason });
  }

  private finish(end: DomainEnd): void {
    this.end ??= end;
    this.resolveEnded(this.end);
  }
}

/** Runs the steps from last to first, all of them whatever happens; throws the first error. */
export function runAll(steps: readonly (() => void)[]): void {
  const errors: unknown[] = [];
  for (const step of steps.toReversed()) {
    try {
      step();
    } catch (e) {
      errors.push(e);
    }
  }
  if (errors.length > 0) throw errors[0];
}
