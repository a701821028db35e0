/**
 * Whether a back end gains by letting requests gather. A guest that has several under way and is busy meanwhile signals
 * each, and is interrupted for each answer; if its signals wake nobody for a while, it signals once, and gets the answers
 * together. A guest that waits for one answer before it asks for the next only loses the while. Which it is shows in how many
 * requests gather, so that is tried now and then.
 */

/** Requests served between two tries: at first, and at most after tries that gained nothing. */
const RETRY_FIRST = 32;
const RETRY_LAST = 1024;
/** Requests at a time, on average, that make it worthwhile. */
const WORTH = 1.2;
/** What a try begins with: six times one request end it. */
const HOPE = 2;
/** More at a time count as so many: what ends is to be noticed. */
const ENOUGH = 4;
/** Weight of the latest batch. */
const NEWS = 1 / 4;

export class Patience {
  #on = false;
  /** Average of the latest batches. */
  #mean = HOPE;
  #served = 0;
  /** Requests until the next try, and between tries. */
  #left = RETRY_FIRST;
  #retry = RETRY_FIRST;

  /**
   * Whether requests are to gather from now on. `served`: how many there have been in all; for once they are all served.
   * `awaited`: the sender had nothing to do but to wait for those that gathered, and could have waited for one less.
   */
  next(served: number, awaited: boolean): boolean {
    const batch = Math.max(0, served - this.#served); // less, if a ring is gone
    this.#served = served;
    if (this.#on) this.#judge(batch, awaited ? batch - 1 : batch);
    else this.#await(batch);
    return this.#on;
  }

  #judge(batch: number, gathered: number): void {
    this.#mean += (Math.min(gathered, ENOUGH) - this.#mean) * NEWS;
    if (this.#mean >= WORTH) {
      if (this.#mean >= HOPE) this.#retry = RETRY_FIRST;
      return;
    }
    this.#on = false;
    // When nothing comes any more, that says nothing about what will.
    if (batch > 0) this.#retry = Math.min(RETRY_LAST, this.#retry * 2);
    this.#left = this.#retry;
  }

  #await(batch: number): void {
    this.#left -= batch;
    if (this.#left > 0 || batch === 0) return;
    this.#on = true;
    this.#mean = HOPE;
  }
}
