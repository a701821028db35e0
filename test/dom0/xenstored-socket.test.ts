/** XenStore over its unix socket: what a program may do to it, from a transport's point of view. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { XENSTORE_PAYLOAD_MAX, XS } from '../../src/abi/xs_wire.ts';
import { XenStoreSocket } from '../../src/dom0/xenstored/socket.ts';
import { XenStore } from '../../src/dom0/xenstored/xenstored.ts';
import { message, Parser, type Reply } from './xs-guest.ts';

let dir: string;
let path: string;
let store: XenStore;
let server: XenStoreSocket;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xs-socket-'));
  path = join(dir, 'xenstored');
  store = new XenStore();
  server = await XenStoreSocket.listen(store, path);
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A program at the socket. */
class Program {
  readonly socket: Socket;
  readonly #parser = new Parser();
  readonly replies: Reply[] = [];
  closed = false;
  #wake = () => {};

  constructor() {
    this.socket = connect(path);
    this.socket.on('data', (bytes) => {
      this.#parser.push(bytes);
      this.replies.push(...this.#parser.messages());
      this.#wake();
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      if (this.closed) throw new Error('disconnected');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async next(): Promise<Reply> {
    await this.until(() => this.replies.length > 0);
    return this.replies.shift()!;
  }

  async ask(type: number, payload: string): Promise<string> {
    this.socket.write(message(type, payload));
    return (await this.next()).payload;
  }

  async gone(): Promise<void> {
    while (!this.closed)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }
}

const settled = async (done: () => boolean) => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 5));
};

describe('the file', () => {
  it('is for its owner alone, and goes when the server does', async () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await server.close();
    expect(existsSync(path)).toBe(false);
  });

  it('replaces one that a dead server left, and no other', async () => {
    await expect(XenStoreSocket.listen(store, path)).rejects.toThrow('listens at');
    const plain = join(dir, 'plain');
    writeFileSync(plain, '');
    await expect(XenStoreSocket.listen(store, plain)).rejects.toThrow('no socket');
    await expect(XenStoreSocket.listen(store, join(dir, 'none/x'))).rejects.toThrow('no folder');
    await expect(XenStoreSocket.listen(store, join(dir, 'x'.repeat(110)))).rejects.toThrow('107 bytes');

    const stale = join(dir, 'stale');
    const { execFileSync } = await import('node:child_process');
    const crash = `require('node:net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`;
    expect(() => execFileSync(process.execPath, ['-e', crash], { stdio: 'ignore' })).toThrow();
    expect(existsSync(stale)).toBe(true);
    await (await XenStoreSocket.listen(store, stale)).close();
    await new Promise<void>((resolve) => {
      const other = createServer().listen(stale, () => other.close(() => resolve()));
    });
  });
});

describe('a program', () => {
  it('asks and is answered, with the control domain’s rights and no home', async () => {
    const p = new Program();
    expect(await p.ask(XS.WRITE, '/secret\0s')).toBe('OK\0');
    expect(store.getPerms('/secret')).toEqual(['n0']);
    expect(await p.ask(XS.READ, '/secret\0')).toBe('s');
    expect(await p.ask(XS.READ, 'secret\0')).toBe('EINVAL\0');
    p.socket.destroy();
  });

  it('may send many requests at once, and in pieces of one byte', async () => {
    store.write('/n', 'v');
    const p = new Program();
    const many = Buffer.concat(Array.from({ length: 5000 }, (_, i) => message(XS.READ, '/n\0', 0, i)));
    p.socket.write(many);
    await p.until(() => p.replies.length === 5000);
    expect(p.replies.map((r) => r.reqId)).toEqual(Array.from({ length: 5000 }, (_, i) => i));
    p.replies.length = 0;
    for (const byte of message(XS.READ, '/n\0')) {
      p.socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await p.next()).payload).toBe('v');
    p.socket.destroy();
  });

  it('is told of changes that others make', async () => {
    const [a, b] = [new Program(), new Program()];
    expect(await a.ask(XS.WATCH, '/w\0tok\0')).toBe('OK\0');
    expect((await a.next()).payload).toBe('/w\0tok\0');
    await b.ask(XS.WRITE, '/w/x\0y');
    expect(await a.next()).toEqual({ type: XS.WATCH_EVENT, reqId: 0, txId: 0, payload: '/w/x\0tok\0' });
    a.socket.destroy();
    b.socket.destroy();
  });

  it('that breaks the protocol is disconnected, and nobody else', async () => {
    const [bad, good] = [new Program(), new Program()];
    const head = message(XS.READ, '');
    new DataView(head.buffer).setUint32(12, XENSTORE_PAYLOAD_MAX + 1, true);
    bad.socket.write(head);
    await bad.gone();
    expect(await good.ask(XS.DIRECTORY, '/\0')).toBe('tool\0');
    good.socket.destroy();
  });

  it('goes in the middle of things', async () => {
    const p = new Program();
    await p.ask(XS.WATCH, '/w\0t\0');
    await p.next();
    await p.ask(XS.TRANSACTION_START, '\0');
    expect(server.clients).toBe(1);
    p.socket.destroy();
    await settled(() => server.clients === 0);
    store.write('/w', 'nobody hears');
    expect(await new Program().ask(XS.READ, '/w\0')).toBe('nobody hears');
  });

  it('that never reads is not waited for, and in the end disconnected', async () => {
    const p = new Program();
    await p.ask(XS.WATCH, '/flood\0t\0');
    p.socket.pause();
    const name = 'x'.repeat(1000);
    for (let i = 0; i < 40_000 && server.clients > 0; i++) {
      store.write(`/flood/${name}${i % 20_000}`, '');
      if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await settled(() => server.clients === 0);
    p.socket.destroy();
  });

  it('that asks without reading is left waiting, and its answers are not made', async () => {
    store.write('/big', 'b'.repeat(4000));
    const p = new Program();
    p.socket.pause();
    const pair = (i: number) => [message(XS.READ, '/big\0', 0, i), message(XS.WRITE, `/count\0${i}`)];
    p.socket.write(Buffer.concat(Array.from({ length: 2000 }, (_, i) => pair(i)).flat()));
    await settled(() => store.exists('/count'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    // What fits into our buffer (64 answers) and those of the system.
    expect(Number(store.read('/count'))).toBeLessThan(500);
    p.socket.resume();
    await p.until(() => p.replies.length === 4000);
    expect(p.replies.filter((r) => r.type === XS.READ).map((r) => r.reqId)).toEqual(
      Array.from({ length: 2000 }, (_, i) => i),
    );
    p.socket.destroy();
  });
});
