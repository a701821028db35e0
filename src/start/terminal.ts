/**
 * The user's side of a domain's console. With a terminal as standard input: raw mode, every key goes to the guest, Ctrl-]
 * leaves. Without one, what is read goes to the guest once it waits for input (prompt.ts), and its end ends nothing.
 */
import { type Console, streamViewer, type Viewer } from '../dom0/xenconsoled/xenconsoled.ts';
import { PromptDetector } from './prompt.ts';

const ESCAPE_KEY = 0x1d; // Ctrl-]
/** busybox's shell asks the terminal where its cursor is; where nobody would answer, the question is not shown. */
const CURSOR_QUERY = Buffer.from('\x1b[6n', 'latin1');

export interface TerminalStreams {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
}

export class Terminal {
  readonly #input: NodeJS.ReadStream;
  readonly #output: NodeJS.WriteStream;
  readonly #onLeave: () => void;
  readonly #onOutput: (bytes: Uint8Array) => void;
  #console: Console | undefined;
  #detach = () => {};
  /** Bytes read before there is a console that wants them; input is paused while there are any. */
  #waiting: Uint8Array[] = [];
  #open = false;
  #started = false;

  constructor(streams: TerminalStreams, onLeave: () => void, onOutput: (bytes: Uint8Array) => void = () => {}) {
    this.#input = streams.input;
    this.#output = streams.output;
    this.#onLeave = onLeave;
    this.#onOutput = onOutput;
    this.#output.on('error', () => {}); // a pipe that was closed: the guest goes on
  }

  get interactive(): boolean {
    return this.#input.isTTY === true;
  }

  /** What to add to the kernel's command line so that the guest's shell knows the terminal. */
  get environment(): string {
    if (!this.interactive || !this.#output.isTTY) return '';
    const term = /^[a-z0-9-]+$/i.test(process.env.TERM ?? '') ? ` TERM=${process.env.TERM}` : '';
    return ` COLUMNS=${this.#output.columns} LINES=${this.#output.rows}${term}`;
  }

  start(): void {
    if (this.#started) return;
    this.#started = true;
    if (this.interactive) this.#input.setRawMode(true);
    this.#input.on('data', (bytes: Buffer) => this.#read(bytes));
    this.#input.on('error', () => {});
  }

  /** Shows this console from now on, and sends it what is typed. */
  connect(console: Console): void {
    this.#detach();
    this.#console = console;
    const detach = [console.attach(this.#viewer())];
    this.#open = this.interactive;
    if (!this.interactive) {
      const gate = new PromptDetector(() => this.#release());
      detach.push(console.attach({ paces: false, write: (bytes) => gate.see(bytes), onDrain: () => {} }));
      detach.push(() => gate.close());
    }
    this.#detach = () => {
      this.#detach = () => {};
      for (const stop of detach) stop();
    };
    if (this.#open) this.#release();
  }

  /** A line beside the console's own output. */
  print(line: string): void {
    this.#output.write(`${line}\r\n`);
  }

  /** The console's domain is gone; input waits for the next one. */
  disconnect(): void {
    this.#detach();
    this.#console = undefined;
    this.#open = false;
  }

  /** Gives the terminal back as it was. */
  stop(): void {
    this.disconnect();
    if (!this.#started) return;
    if (this.interactive) this.#input.setRawMode(false);
    this.#input.pause();
    this.#input.unref?.();
  }

  #viewer(): Viewer {
    const screen = streamViewer(this.#output, true);
    return {
      ...screen,
      write: (bytes) => {
        this.#onOutput(bytes);
        return screen.write(this.interactive ? bytes : withoutQueries(bytes));
      },
    };
  }

  #read(bytes: Buffer): void {
    if (this.interactive) {
      const key = bytes.indexOf(ESCAPE_KEY);
      if (key >= 0) {
        this.#send(bytes.subarray(0, key));
        this.#onLeave();
        return;
      }
    }
    this.#send(bytes);
  }

  /** The guest wants input: what was read so far goes first. */
  #release(): void {
    this.#open = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const bytes of waiting) this.#send(bytes);
    if (this.#waiting.length === 0) this.#input.resume();
  }

  #send(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const console = this.#console;
    if (!console || !this.#open || this.#waiting.length > 0) {
      this.#waiting.push(bytes);
      this.#pause();
      return;
    }
    if (console.input(bytes)) return;
    this.#pause();
    console.onInputRoom(() => this.#input.resume());
  }

  /** A terminal is always read: Ctrl-] must work with a guest that takes no input. */
  #pause(): void {
    if (!this.interactive) this.#input.pause();
  }
}

function withoutQueries(bytes: Uint8Array): Uint8Array {
  let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = rest.indexOf(CURSOR_QUERY); at >= 0; at = rest.indexOf(CURSOR_QUERY)) {
    rest = Buffer.concat([rest.subarray(0, at), rest.subarray(at + CURSOR_QUERY.length)]);
  }
  return rest;
}
