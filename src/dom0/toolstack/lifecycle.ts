/** Carries out on_poweroff, on_reboot, on_crash: what `xl create` stays in the background for. */

import type { DomainConfig, DomainSettings, LifecycleAction } from './config.ts';
import type { CrashRecords } from './crash.ts';
import type { Domain, DomainEnd } from './domain.ts';
import { ToolstackError } from './error.ts';
import { RestartLimit } from './restarts.ts';
import type { DomainSpec } from './spec.ts';
import type { Toolstack } from './toolstack.ts';

/** xl's defaults. */
const DEFAULTS: Record<DomainEnd, LifecycleAction> = {
  poweroff: 'destroy',
  reboot: 'restart',
  crash: 'destroy',
  watchdog: 'destroy',
  suspend: 'preserve',
  'soft-reset': 'destroy',
  destroyed: 'destroy',
};

export function actionFor(config: DomainSettings, end: DomainEnd): LifecycleAction {
  const wanted = {
    poweroff: config.onPoweroff,
    reboot: config.onReboot,
    crash: config.onCrash,
    watchdog: config.onWatchdog,
    'soft-reset': config.onSoftReset,
  } as Partial<Record<DomainEnd, LifecycleAction>>;
  return wanted[end] ?? DEFAULTS[end];
}

export interface Supervision {
  /** The domain of now: another one after each restart. */
  readonly domain: Domain;
  /** How the last one ended, when nothing follows it. Rejects if a restart fails. */
  readonly done: Promise<DomainEnd>;
}

/** Name of a crashed domain that is kept beside its successor. */
function keptName(toolstack: Toolstack, name: string): string {
  for (let i = 1; ; i++) if (!toolstack.find(`${name}-${i}`)) return `${name}-${i}`;
}

export interface NextLife {
  readonly config: DomainConfig;
  readonly spec?: DomainSpec;
}

export interface SuperviseOptions {
  /** Called with each successor, paused, which is unpaused after that. */
  readonly started?: (d: Domain) => void;
  /** What the successor is made from; default: the configuration of its predecessor. Asked before that goes. */
  readonly next?: (d: Domain) => Promise<NextLife>;
  /** Keeps what a crashed domain leaves behind. */
  readonly crashes?: CrashRecords;
  /** Told that a domain is not restarted although it should be. */
  readonly warn?: (message: string) => void;
  /** While it is true nothing is restarted (the host is stopping). */
  readonly stopping?: () => boolean;
}

/** Throws ToolstackError where the images are gone. */
async function sameAgain({ config, images, name }: Domain): Promise<NextLife> {
  if (!images) throw new ToolstackError(`what ${name} was booted from is not kept`);
  return { config: { ...config, ...images } };
}

/** Watches `first` and its successors. */
export function supervise(toolstack: Toolstack, first: Domain, options: SuperviseOptions = {}): Supervision {
  const { started, next = sameAgain, stopping = () => false, crashes, warn = () => {} } = options;
  const limit = new RestartLimit();
  let current = first;
  /** What to do with a domain that ended so; undefined: it is gone. */
  const decide = async (d: Domain, end: DomainEnd): Promise<LifecycleAction | undefined> => {
    if (d.gone) return undefined;
    if (end === 'crash' || end === 'watchdog') crashes?.note(d, end);
    const action = actionFor(d.config, end);
    if (action === 'preserve' || action === 'destroy') return action;
    if (action === 'coredump-destroy' || action === 'coredump-restart') await crashes?.dump(d);
    if (d.gone) return undefined;
    return action === 'coredump-destroy' || stopping() ? 'destroy' : action;
  };
  const run = async (): Promise<DomainEnd> => {
    for (;;) {
      const begun = performance.now();
      const end = await current.ended;
      const action = await decide(current, end);
      if (action === undefined || action === 'preserve') return end;
      const pause = action === 'destroy' ? 0 : limit.after(end, performance.now() - begun);
      if (pause === undefined) warn(`${current.name} crashes as soon as it starts: it is not restarted any more`);
      if (action === 'destroy' || pause === undefined) {
        current.destroy();
        return end;
      }
      const { config: wanted, spec } = await next(current);
      const { domid: oldDomid } = current;
      const kept = action === 'rename-restart';
      // One UUID is one domain's: the one that is kept keeps it.
      const config = kept ? { ...wanted, uuid: undefined } : wanted;
      if (kept) current.rename(keptName(toolstack, config.name));
      else current.destroy();
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      if (stopping()) return end;
      current = await toolstack.createWithDevices(config);
      if (spec) current.readAnew(spec);
      toolstack.bus.emit({ type: 'domain.restarted', domid: current.domid, name: current.name, oldDomid });
      started?.(current);
      current.unpause();
    }
  };
  const done = run();
  return {
    get domain() {
      return current;
    },
    done,
  };
}
