/**
 * Keeps a domain that ends right after each start from being started for ever. The first early end costs nothing (a reboot
 * in an installer), the next ones a pause that doubles; one that crashes early again and again is given up.
 */
import type { DomainEnd } from './domain.ts';

/** A domain that lives as long has started properly. */
const PROPER_LIFE_MS = 60_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** Early crashes in a row after which it is not started again. */
const CRASHES = 5;

const CRASH_ENDS: readonly DomainEnd[] = ['crash', 'watchdog'];

export class RestartLimit {
  #early = 0;
  #crashes = 0;

  /** How long to wait (ms) before a domain is started anew that lived for `lifeMs`; undefined: not any more. */
  after(end: DomainEnd, lifeMs: number): number | undefined {
    const early = lifeMs < PROPER_LIFE_MS;
    this.#early = early ? this.#early + 1 : 0;
    this.#crashes = early && CRASH_ENDS.includes(end) ? this.#crashes + 1 : 0;
    if (this.#crashes >= CRASHES) return undefined;
    return this.#early <= 1 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (this.#early - 2), LONGEST_PAUSE_MS);
  }
}
