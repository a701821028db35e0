/** One host a socket: stale sockets, second hosts, and many that start at once. */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostPaths } from '../../src/api/paths.ts';
import { answers, claimSocket, HostRunningError } from '../../src/api/server/claim.ts';

let dir: string;
let path: string;
const servers: Server[] = [];
const make = () => {
  const server = createServer((s) => s.destroy());
  servers.push(server);
  return server;
};
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'claim-'));
  path = join(dir, 'run', 'host.sock');
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('a socket', () => {
  it('is the first host’s, for its user alone, and gone when it gives it back', async () => {
    const giveBack = await claimSocket(make(), path);
    expect(await answers(path)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, 'run')).mode & 0o777).toBe(0o700);
    await expect(claimSocket(make(), path)).rejects.toThrow(HostRunningError);
    expect(await answers(path)).toBe(true);
    giveBack();
    expect(readdirSync(join(dir, 'run'))).toEqual([]);
  });

  it('of a host that died is taken over', async () => {
    const first = make();
    await claimSocket(first, path);
    // What a killed process leaves: the name, and nobody behind it.
    await new Promise((resolve) => first.close(resolve));
    expect(existsSync(path)).toBe(true);
    expect(await answers(path)).toBe(false);
    await claimSocket(make(), path);
    expect(await answers(path)).toBe(true);
    expect(readdirSync(join(dir, 'run'))).toEqual(['host.sock']);
  });

  it('that is a plain file is taken over too', async () => {
    await claimSocket(make(), path);
    rmSync(path);
    writeFileSync(path, '');
    await claimSocket(make(), path);
    expect(await answers(path)).toBe(true);
  });

  it('is not removed by a host that lost it', async () => {
    const giveBack = await claimSocket(make(), path);
    rmSync(path);
    await claimSocket(make(), path);
    giveBack();
    expect(await answers(path)).toBe(true);
  });
});

describe('paths', () => {
  it('come from the environment', () => {
    expect(hostPaths({ XENOLITH_SOCKET: '/tmp/a/b.sock' })).toEqual({
      dir: '/tmp/a',
      socket: '/tmp/a/b.sock',
      storeSocket: '/tmp/a/xenstored.sock',
      token: '/tmp/a/token',
      log: '/tmp/a/host.log',
      logDir: '/tmp/a/log',
    });
    const uid = process.getuid?.();
    const expected = uid === 0 ? '/run/xenolith/host.sock' : '/run/user/7/xenolith/host.sock';
    expect(hostPaths({ XDG_RUNTIME_DIR: '/run/user/7' }).socket).toBe(expected);
    expect(() => hostPaths({ XENOLITH_SOCKET: `/tmp/${'x'.repeat(120)}` })).toThrow(/too long/);
  });
});
