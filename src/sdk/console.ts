/** A domain's console in a program: bytes, lines to type, and waiting for what it prints. */
import type { Duplex } from 'node:stream';

/** The console did not print what was waited for: the message says what it did print. */
export class ExpectError extends Error {
  override readonly name = 'ExpectError';
}

const TIMEOUT_MS = 60_000;
/** Output kept for `expect` that nobody has waited for, in characters. */
const KEEP = 1 << 20;
/** Output shown in an ExpectError. */
const TAIL = 2000;

/** `# ` or `$ `, and what shells send after it to ask where the cursor is. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const PROMPT = /[#$] (?:\x1b\[[0-9;?]*[A-Za-z])*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const SEQUENCES = /\x1b\[[0-9;?]*[A-Za-z]/g;

export class Console implements AsyncDisposable {
  /** The bytes themselves. What is read here is not seen by `expect`, so use one or the other. */
  readonly stream: Duplex;
  #text = '';
  #reading = false;
  #ended = false;
  #wake: () => void = () => {};

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('error', () => {}); // the host went away: the end tells
    stream.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Types text. Resolves when the host has taken it. */
  async write(text: string | Uint8Array): Promise<void> {
    await new Promise<void>((resolve, reject) =>
      this.stream.write(text, (error) => (error ? reject(error) : resolve())),
    );
  }

  /**
   * Waits for output that matches, and has not been waited for before. Throws ExpectError after `timeoutMs` (60 s), or when
   * the console ends.
   */
  async expect(pattern: RegExp | string, { timeoutMs = TIMEOUT_MS } = {}): Promise<RegExpExecArray> {
    this.#read();
    const search =
      typeof pattern === 'string'
        ? new RegExp(pattern.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const match = search.exec(this.#text);
      if (match) {
        this.#text = this.#text.slice(match.index + match[0].length);
        return match;
      }
      const left = deadline - Date.now();
      if (left <= 0 || this.#ended) {
        const why = this.#ended ? 'the console has ended' : `not within ${timeoutMs} ms`;
        throw new ExpectError(`no ${search}: ${why}; its last output:\n${this.#text.slice(-TAIL)}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Types a line at a shell and returns what it prints until `prompt` comes back. */
  async shell(line: string, prompt: RegExp = PROMPT): Promise<string> {
    await this.write(`${line}\n`);
    await this.expect(line);
    const rest = new RegExp(`([\\s\\S]*?)(?:${prompt.source})`, prompt.flags);
    return (await this.expect(rest))[1].replaceAll(SEQUENCES, '').replaceAll('\r\n', '\n').trimStart();
  }

  /** Lets go of it; the domain goes on. */
  close(): void {
    this.stream.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #read(): void {
    if (this.#reading) return;
    this.#reading = true;
    const decoder = new TextDecoder();
    this.stream.on('data', (bytes: Buffer) => {
      this.#text = (this.#text + decoder.decode(bytes, { stream: true })).slice(-KEEP);
      this.#wake();
    });
  }
}
