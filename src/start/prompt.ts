/**
 * Tells when a guest waits for input, so that lines which are not typed by a person go to its shell and not to whatever
 * runs before it: the output ends in a shell's prompt, or the guest has printed something and then been quiet for long.
 */

/** Quiet for this many milliseconds counts as waiting, whatever was printed: not every guest has a prompt. */
const QUIET_MS = 10_000;
/** `# `, `$ ` or `> ` at the end of a line with something before it. */
const PROMPT = /[^\s][#$>] $/;
/** Control sequences of terminals. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const SEQUENCE = /\x1b\[[0-9;?]*[A-Za-z]/g;
const TAIL = 200;

export class PromptDetector {
  readonly #onReady: () => void;
  readonly #quietMs: number;
  #tail = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #done = false;

  /** Calls `onReady` once. */
  constructor(onReady: () => void, quietMs = QUIET_MS) {
    this.#onReady = onReady;
    this.#quietMs = quietMs;
  }

  /** Output of the guest. Always true: no pause is ever needed. */
  see(bytes: Uint8Array): true {
    if (this.#done) return true;
    this.#tail = (this.#tail + Buffer.from(bytes).toString('latin1')).slice(-TAIL);
    clearTimeout(this.#timer);
    if (PROMPT.test(this.#tail.replaceAll(SEQUENCE, ''))) this.#ready();
    else this.#timer = setTimeout(() => this.#ready(), this.#quietMs);
    return true;
  }

  close(): void {
    this.#done = true;
    clearTimeout(this.#timer);
  }

  #ready(): void {
    this.close();
    this.#onReady();
  }
}
