/**
 * Guests: domains with their life cycle, as `xl create` starts them. The one entry for every face: from a spec to a domain
 * that is watched over, restarted as its on_* settings say, and shut down in order when the host stops.
 */

import type { Progress } from './boot-files.ts';
import type { CrashRecords } from './crash.ts';
import type { Domain } from './domain.ts';
import { ToolstackError } from './error.ts';
import { type NextLife, supervise } from './lifecycle.ts';
import { loadSpec } from './load.ts';
import { retrieveSpec } from './retrieve.ts';
import { type DomainSpec, parseSpec } from './spec.ts';
import type { Toolstack } from './toolstack.ts';

export interface CreateOptions {
  /** Leave it paused. */
  readonly paused?: boolean;
  /** Watch over it: carry out on_poweroff, on_reboot, … Default: true. */
  readonly monitor?: boolean;
  readonly progress?: Progress;
}

/** How often the state of guests that were asked to stop is looked at, in ms. */
const POLL_MS = 50;

export class Guests {
  readonly #toolstack: Toolstack;
  readonly #warn: (message: string) => void;
  readonly #crashes: CrashRecords | undefined;
  #stopping = false;

  /** `warn`: told what went wrong without anybody waiting for it, such as a restart. */
  constructor(toolstack: Toolstack, warn: (message: string) => void = () => {}, crashes?: CrashRecords) {
    this.#toolstack = toolstack;
    this.#warn = warn;
    this.#crashes = crashes;
  }

  /** Throws SpecError, ToolstackError, KernelError or HypercallError; nothing of the domain remains then. */
  async create(input: unknown, options: CreateOptions = {}): Promise<Domain> {
    const { paused = false, monitor = true, progress = () => {} } = options;
    const spec = parseSpec(input);
    const config = await loadSpec(spec, progress);
    progress(`building ${spec.name}`);
    const domain = await this.#toolstack.createWithDevices(config);
    domain.readAnew(spec);
    if (monitor) this.#monitor(domain);
    if (!paused) domain.unpause();
    return domain;
  }

  /** What the guest will be when it starts the next time (xl config-update). Its name and UUID stay. */
  updateConfig(domain: Domain, input: unknown): DomainSpec {
    const spec = parseSpec(input);
    domain.nextSpec = { ...spec, name: domain.name, uuid: domain.uuid };
    return domain.nextSpec;
  }

  /**
   * Asks every guest to power off, waits at most `limitMs` for them, and destroys those that are left. From the first call
   * on none is restarted. Returns the names of those that had to be destroyed.
   */
  async shutdownAll(limitMs: number): Promise<string[]> {
    this.#stopping = true;
    // One that does not listen (it is still booting, or has ended) gets no time.
    const asked = this.#toolstack.list().filter((d) => d.listensFor('poweroff') && d.info()?.shutdown === false);
    for (const domain of asked) domain.requestShutdown('poweroff');
    const deadline = Date.now() + limitMs;
    const left = () => asked.some((d) => !d.gone && d.info()?.shutdown === false);
    while (left() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const forced: string[] = [];
    for (const domain of this.#toolstack.list()) {
      if (domain.info()?.shutdown === false) forced.push(domain.name);
      domain.destroy();
    }
    return forced;
  }

  #monitor(domain: Domain): void {
    const next = async (d: Domain): Promise<NextLife> => {
      const spec = d.nextSpec ?? retrieveSpec(this.#toolstack, d);
      if (!spec) throw new ToolstackError(`domain ${d.name} was not made from a configuration`);
      return { spec, config: await loadSpec(spec) };
    };
    const { done } = supervise(this.#toolstack, domain, {
      next,
      stopping: () => this.#stopping,
      crashes: this.#crashes,
      warn: this.#warn,
    });
    done.catch((error: Error) => this.#warn(`${domain.name} could not be restarted: ${error.message}`));
  }
}
