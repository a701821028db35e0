/**
 * How much of the control domain's time one console may take: so many looks at its ring in a period, as in Xen's xenconsoled
 * (there 30 events in 200 ms; more here, since Linux signals every 16 bytes). A guest that floods its console then finds
 * its ring full, and waits; other domains do not.
 */
const ALLOWANCE = 2000;
const PERIOD_MS = 200;

export class Budget {
  readonly #onRenewal: () => void;
  #left = ALLOWANCE;
  #end = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `onRenewal` is called at the end of a period in which `take` has refused. */
  constructor(onRenewal: () => void) {
    this.#onRenewal = onRenewal;
  }

  /** False: there is nothing left for this period. */
  take(): boolean {
    const now = performance.now();
    if (now >= this.#end) {
      this.#left = ALLOWANCE;
      this.#end = now + PERIOD_MS;
    }
    if (this.#left > 0) {
      this.#left -= 1;
      return true;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#onRenewal();
    }, this.#end - now);
    return false;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
