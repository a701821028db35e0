/** A guest of the device lines: the shell of its init (ramdisk.ts) at the other end of a console. */
import type { Child } from '../child.ts';
import { checkClock } from '../guest.ts';

const PROMPT = /bench> $/;

export class DeviceGuest {
  readonly #child: Child;

  constructor(child: Child) {
    this.#child = child;
  }

  /** Until it waits for a command. */
  ready(): Promise<void> {
    return this.#child.expect(PROMPT);
  }

  /** Runs a command; what it prints. */
  async run(line: string): Promise<string> {
    this.#child.text = '';
    this.#child.write(`${line}\n`);
    await this.#child.expect(PROMPT);
    return this.#child.text.replaceAll('\r', '').replace(PROMPT, '');
  }

  /** What `parse` makes of a command's output; throws with the output if that is nothing, or if the guest's clock is wrong. */
  async measure<T extends { readonly seconds: number }>(
    line: string,
    parse: (text: string) => T | undefined,
  ): Promise<T> {
    const start = performance.now();
    const text = await this.run(line);
    const got = parse(text);
    if (!got) throw new Error(`${this.#child.name}: ${line}:\n${text.slice(-1500)}`);
    checkClock(this.#child.name, got.seconds, (performance.now() - start) / 1000);
    return got;
  }
}
