/**
 * Rate limit of a vif (xl-network-configuration: rate=): so many bytes in each window, as Linux's netback does it. What is
 * left of a window is lost; a frame larger than a window takes the following ones.
 */
export class RateLimit {
  readonly #bytes: number;
  readonly #windowMs: number;
  #left: number;
  #until: number;

  /** `bytes` in each window of `microseconds`. */
  constructor(bytes: number, microseconds: number, now = performance.now()) {
    this.#bytes = bytes;
    this.#windowMs = microseconds / 1000;
    this.#left = bytes;
    this.#until = now + this.#windowMs;
  }

  /** How long to wait, in ms, until a frame may be sent; 0: it may go now and is counted. */
  take(bytes: number, now = performance.now()): number {
    if (now >= this.#until) {
      const windows = 1 + Math.floor((now - this.#until) / this.#windowMs);
      this.#left = Math.min(this.#bytes, this.#left + windows * this.#bytes);
      this.#until += windows * this.#windowMs;
    }
    if (this.#left <= 0) return this.#until - now;
    this.#left -= bytes;
    return 0;
  }
}
