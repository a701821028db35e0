/** The SDK on the real hypervisor, with kernels of a few bytes. Debian's is in test/e2e. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError, Console, ExpectError, Host } from '../../src/sdk/index.ts';
import { linuxNotes, tinyElf } from '../dom0/kernels/tiny-kernel.ts';

let dir: string;
let host: Host;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sdk-'));
  for (const [name, data] of Object.entries({ spins: [0xeb, 0xfe], crashes: [0x0f, 0x0b] })) {
    const segments = [{ paddr: 0x10_0000n, data: Uint8Array.from(data) }];
    writeFileSync(join(dir, name), tinyElf({ segments, notes: linuxNotes() }));
  }
  host = await Host.start({ memoryMiB: 256, pcpus: 1 });
});
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});
const config = (kernel: string) => ({ name: kernel, memory: 8, kernel: join(dir, kernel) });

describe('a host in this process', () => {
  it('makes domains, which go when they are disposed of', async () => {
    {
      await using domain = await host.create(config('spins'), { paused: true });
      expect((await domain.info()).paused).toBe(true);
      await domain.unpause();
      expect((await host.list()).map((d) => d.name)).toEqual(['Domain-0', 'spins']);
      expect((await host.domain('spins')).domid).toBe(domain.domid);
    }
    expect(await host.list()).toHaveLength(1);
    await expect(host.domain('spins')).rejects.toThrow(ApiError);
  });

  it('tells why a domain ended, then and later', async () => {
    const domain = await host.create(config('crashes'), { paused: true, monitor: false });
    const ended = domain.ended();
    await domain.unpause();
    expect(await ended).toBe('crash');
    expect(await domain.ended()).toBe('crash');
    await domain.destroy();
    await domain.destroy();
    expect(await domain.ended()).toBe('destroyed');
  });

  it('refuses with a reason', async () => {
    await expect(host.create({ ...config('spins'), memory: 0 })).rejects.toThrow(/config.memory/);
    await expect(Host.connect(join(dir, 'nobody.sock'))).rejects.toThrow(/no host is running/);
  });

  it('closes a console with its domain', async () => {
    const domain = await host.create(config('spins'));
    const console = await domain.console();
    const waiting = expect(console.expect('never')).rejects.toThrow(/the console has ended/);
    await domain.destroy();
    await waiting;
  });
});

describe('a console', () => {
  const make = () => {
    const stream = new PassThrough();
    return { stream, console: new Console(stream) };
  };

  it('gives what is waited for, each once, however it is cut', async () => {
    const { stream, console } = make();
    const first = console.expect(/log(in): /);
    for (const part of ['boot…\r\nlo', 'gi', 'n: and login: ']) stream.write(part);
    expect((await first)[1]).toBe('in');
    expect((await console.expect('login: ')).index).toBe(4);
    await expect(console.expect('login', { timeoutMs: 20 })).rejects.toThrow(ExpectError);
  });

  it('runs lines at a shell', async () => {
    const stream = new Duplex({
      read() {},
      write(line, _, done) {
        this.push(`${String(line).trim()}\r\nLinux\x1b[m\r\nguest:~# \x1b[6n`);
        done();
      },
    });
    expect(await new Console(stream).shell('uname')).toBe('Linux\nguest:~');
  });

  it('says what came instead', async () => {
    const { stream, console } = make();
    const waiting = expect(console.expect('a.b', { timeoutMs: 1000 })).rejects.toThrow(
      /no \/.*a.*b\/: the console has ended; its last output:\naxb/,
    );
    stream.write('axb');
    await new Promise((resolve) => setTimeout(resolve, 10));
    stream.destroy();
    await waiting;
  });
});
