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

/**
 * Watches `first` and its successors. `started` is called with each successor, paused, which is unpaused after that.
 */
export function supervise(toolstack: Toolstack, first: Domain, started?: (d: Domain) => void): Supervision {
  let current = first;
  const run = async (): Promise<DomainEnd> => {
    for (;;) {
      const end = await current.ended;
      const action = actionFor(current.config, end);
      if (current.gone || action === 'preserve') return end;
      if (action === 'destroy') {
        current.destroy();
        return end;
      }
      const { config } = current;
      if (action === 'rename-restart') current.rename(keptName(toolstack, config.name));
      else current.destroy();
      current = toolstack.create(config);
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
