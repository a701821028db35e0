/** Carries out on_poweroff, on_reboot, on_crash: what `xl create` stays in the background for. */
import type { DomainConfig, LifecycleAction } from './config.ts';
import type { Domain, DomainEnd } from './domain.ts';
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

export function actionFor(config: DomainConfig, end: DomainEnd): LifecycleAction {
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

export interface SuperviseOptions {
  /** Called with each successor, paused, which is unpaused after that. */
  readonly started?: (d: Domain) => void;
  /** What the successor is made from; default: the configuration of its predecessor. */
  readonly next?: (d: Domain) => Promise<DomainConfig>;
  /** While it is true nothing is restarted (the host is stopping). */
  readonly stopping?: () => boolean;
}

/** Watches `first` and its successors. */
export function supervise(toolstack: Toolstack, first: Domain, options: SuperviseOptions = {}): Supervision {
  const { started, next = async (d) => d.config, stopping = () => false } = options;
  let current = first;
  const run = async (): Promise<DomainEnd> => {
    for (;;) {
      const end = await current.ended;
      const action = actionFor(current.config, end);
      if (current.gone || action === 'preserve') return end;
      if (action === 'destroy' || stopping()) {
        current.destroy();
        return end;
      }
      const config = await next(current);
      const { domid: oldDomid, spec } = current;
      if (action === 'rename-restart') current.rename(keptName(toolstack, config.name));
      else current.destroy();
      current = await toolstack.createWithDevices(config);
      current.spec = spec;
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
