/** A channel's socket: clients in turn, output that waits, clients that come too early, floods in both directions. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ChannelSocket } from '../../src/dom0/xenconsoled/channel-socket.ts';
import type { Console } from '../../src/dom0/xenconsoled/console.ts';
import { CONSOLE_LIMIT } from '../../src/dom0/xenconsoled/limits.ts';
import type { Viewer } from '../../src/dom0/xenconsoled/viewer.ts';

/** The console's side: what it is given as input, and what it shows. */
class FakeConsole {
  viewer: Viewer | undefined;
  input = '';
  full = false;
  room = () => {};

  asConsole(): Console {
    const half = {
      attach: (viewer: Viewer) => {
        this.viewer = viewer;
        return () => {
          this.viewer = undefined;
        };
      },
      input: (bytes: Uint8Array) => {
        this.input += Buffer.from(bytes).toString();
        return !this.full;
      },
      onInputRoom: (callback: () => void) => {
        this.room = callback;
      },
    };
    return half as unknown as Console;
  }

  print(text: string): void {
    expect(this.viewer!.paces).toBe(false);
    expect(this.viewer!.write(Buffer.from(text))).toBe(true);
  }
}

let dir: string;
let channel: ChannelSocket;
let guest: FakeConsole;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'channel-'));
  channel = ChannelSocket.listen(join(dir, 'socket'));
  guest = new FakeConsole();
});
afterEach(() => {
  channel.close();
  rmSync(dir, { recursive: true });
});

async function client(): Promise<{ socket: Socket; text: string }> {
  const socket = connect(channel.path);
  const seen = { socket, text: '' };
  socket.on('data', (d) => {
    seen.text += d;
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return seen;
}

it('takes bytes both ways', async () => {
  channel.serve(guest.asConsole());
  const c = await client();
  c.socket.write('question');
  await vi.waitFor(() => expect(guest.input).toBe('question'));
  guest.print('answer');
  await vi.waitFor(() => expect(c.text).toBe('answer'));
});

it('keeps what is printed while nobody is there, up to a bound', async () => {
  channel.serve(guest.asConsole());
  guest.print('lost');
  for (let i = 0; i < 16; i++) guest.print(String(i % 10).repeat(CONSOLE_LIMIT / 16));
  const c = await client();
  await vi.waitFor(() => expect(c.text.length).toBe(CONSOLE_LIMIT));
  expect([c.text[0], c.text.at(-1)]).toEqual(['0', '5']);
});

it('has one client at a time; the next waits for its turn', async () => {
  channel.serve(guest.asConsole());
  const first = await client();
  first.socket.write('1');
  await vi.waitFor(() => expect(guest.input).toBe('1'));
  const second = await client();
  second.socket.write('2');
  guest.print('for the first');
  await vi.waitFor(() => expect(first.text).toBe('for the first'));
  expect([guest.input, second.text]).toEqual(['1', '']);
  first.socket.destroy();
  await vi.waitFor(() => expect(guest.input).toBe('12'));
  guest.print('for the second');
  await vi.waitFor(() => expect(second.text).toBe('for the second'));
});

it('turns away more than can wait', async () => {
  const clients = [];
  for (let i = 0; i < 18; i++) clients.push(await client());
  await once(clients[17].socket, 'close');
  expect(clients.slice(0, 17).filter((c) => c.socket.closed)).toEqual([]);
});

it('reads from a client once the guest has connected, and again when it has once more', async () => {
  const c = await client();
  c.socket.write('early');
  await new Promise((resolve) => setTimeout(resolve, 20));
  const leave = channel.serve(guest.asConsole());
  await vi.waitFor(() => expect(guest.input).toBe('early'));
  leave();
  c.socket.write(' late');
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(guest.input).toBe('early');
  channel.serve(guest.asConsole());
  await vi.waitFor(() => expect(guest.input).toBe('early late'));
});

it('makes a client wait while the guest has no room', async () => {
  channel.serve(guest.asConsole());
  guest.full = true;
  const c = await client();
  const flood = 'x'.repeat(8 << 20);
  c.socket.write(flood);
  await vi.waitFor(() => expect(guest.input.length).toBeGreaterThan(0));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(guest.input.length).toBeLessThan(1 << 20);
  guest.full = false;
  guest.room();
  await vi.waitFor(() => expect(guest.input.length).toBe(flood.length), 5000);
});

it('neither waits for a client that reads nothing, nor keeps all for it', async () => {
  channel.serve(guest.asConsole());
  const c = await client();
  c.socket.pause();
  for (let i = 0; i < 64; i++) guest.print('y'.repeat(128 << 10));
  guest.print('end');
  c.socket.resume();
  await vi.waitFor(() => expect(c.text.endsWith('end')).toBe(true), 5000);
  expect(c.text.length).toBeLessThan(4 << 20);
});

it('lets its clients go when it is closed', async () => {
  const [c, waiting] = [await client(), await client()];
  channel.close();
  for (const { socket } of [c, waiting]) if (!socket.closed) await once(socket, 'close');
});
