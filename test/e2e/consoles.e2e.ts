/** Consoles of a Linux guest: its ptys, a second console, and a flood. */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostGuest } from './host-guest.ts';

let guest: HostGuest;

beforeAll(async () => {
  guest = await HostGuest.boot({ domain: { channels: [{ name: 'agent' }] } });
});
afterAll(() => guest?.stop());

/** Somebody who opens a terminal. */
class Terminal {
  readonly #fd: number;
  text = '';

  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  }

  async until(pattern: RegExp): Promise<void> {
    const bytes = Buffer.alloc(65_536);
    const deadline = Date.now() + 60_000;
    while (!pattern.test(this.text)) {
      if (Date.now() > deadline) throw new Error(`no ${pattern} in ${this.text.slice(-500)}`);
      try {
        this.text += bytes.toString('utf8', 0, readSync(this.#fd, bytes));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  type(text: string): void {
    writeSync(this.#fd, text);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const node = (key: string) => guest.host.store.read(`/local/domain/${guest.domain.domid}/${key}`);

it('the pty shows what was printed before it was opened, and takes commands', async () => {
  const terminal = new Terminal(node('console/tty'));
  await terminal.until(/guest:~# /);
  terminal.type('echo from the $((1 + 1))nd\n');
  await terminal.until(/from the 2nd\r\n/);
  terminal.close();
  await guest.expect(/from the 2nd\s[\s\S]*# $/); // the other viewer sees it too
});

it('a channel is a console of its own', async () => {
  expect(node('device/console/1/state')).toBe('4');
  expect(guest.host.store.read(`/local/domain/0/backend/console/${guest.domain.domid}/1/state`)).toBe('4');
  expect(guest.host.store.read(`/local/domain/0/backend/console/${guest.domain.domid}/1/name`)).toBe('agent');
  await guest.shell('stty -F /dev/hvc1 raw -echo; echo unheard > /dev/hvc1');
  const terminal = new Terminal(node('device/console/1/tty'));
  await terminal.until(/unheard/);
  guest.type('head -n 1 < /dev/hvc1\n');
  terminal.type('to the guest\n');
  await guest.expect(/\nto the guest\s/);
  await guest.expect(/# $/);
  terminal.close();
});

it('a flood leaves the host its time', async () => {
  guest.type("yes 'a line of noise that is longer than most' > /dev/hvc1\n");
  let longest = 0;
  for (let i = 0, last = performance.now(); i < 200; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  expect(longest).toBeLessThan(1000);
  guest.type('\x03');
  await guest.expect(/\^C[\s\S]*# $/);
  expect(await guest.shell('echo done')).toMatch(/done$/);
});
