/** The control API on the real hypervisor, through the client that xl uses. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ApiError, Client, NoHostError } from '../../src/api/client.ts';
import { CALLS, callPath } from '../../src/api/schema/index.ts';
import { claimSocket } from '../../src/api/server/claim.ts';
import { createApiServer } from '../../src/api/server/server.ts';
import { Host } from '../../src/dom0/host.ts';
import type { NumberedEvent } from '../../src/dom0/toolstack/events.ts';
import { linuxNotes, tinyElf } from '../dom0/kernels/tiny-kernel.ts';

/** `jmp .` for ever, and ud2. */
const SPINS = Uint8Array.from([0xeb, 0xfe]);
const CRASHES = Uint8Array.from([0x0f, 0x0b]);

let dir: string;
let host: Host;
let server: Server;
let client: Client;
const stops: (number | undefined)[] = [];
const warnings: string[] = [];
const kernel = (name: string) => join(dir, name);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'api-'));
  for (const [name, data] of Object.entries({ spins: SPINS, crashes: CRASHES })) {
    writeFileSync(kernel(name), tinyElf({ segments: [{ paddr: 0x10_0000n, data }], notes: linuxNotes() }));
  }
  host = await Host.create({ memoryMiB: 256, pcpus: 1 });
  const process = { started: 1, socket: 's', state: 'running' as const, stop: (ms?: number) => stops.push(ms) };
  server = createApiServer({ host: Promise.resolve(host), process, warn: (m) => warnings.push(m) });
  const socket = join(dir, 'host.sock');
  await claimSocket(server, socket);
  client = new Client(socket);
});
afterEach(() => {
  for (const d of host.toolstack.list()) d.destroy();
  expect(warnings).toEqual([]);
});
afterAll(async () => {
  client.close();
  server.close();
  server.closeAllConnections();
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

const config = (name: string, more = {}) => ({ name, memory: 8, kernel: kernel('spins'), ...more });

/** A request as no client of ours would make it. */
function raw(path: string, method = 'POST', body = '', headers = {}): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const r = request({ socketPath: client.socket, path, method, headers, agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode!, text });
    });
    r.on('error', reject);
    r.end(body);
  });
}

async function refused(promise: Promise<unknown>, kind: string, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (e) => e,
  );
  expect(error).toBeInstanceOf(ApiError);
  expect((error as ApiError).body.kind).toBe(kind);
  expect((error as ApiError).message).toMatch(message);
}

describe('calls', () => {
  it('say what host this is, and stop it', async () => {
    expect(await client.call('host.status', {})).toMatchObject({ pid: process.pid, domains: 0, memoryMiB: 256 });
    await client.call('host.stop', { timeout: 2 });
    expect(stops).toEqual([2000]);
  });

  it('make, list, change and end domains', async () => {
    const told: string[] = [];
    const made = await client.call('domain.create', { config: config('one'), paused: true }, (m) => told.push(m));
    expect(made.name).toBe('one');
    expect(told.length).toBeGreaterThan(0);
    const [dom0, one] = await client.call('domain.list', {});
    expect(dom0).toMatchObject({ domid: 0, name: 'Domain-0', neverStop: true });
    expect(one).toMatchObject({
      domid: made.domid,
      name: 'one',
      paused: true,
      neverStop: false,
      memoryKiB: 8192,
      uuid: made.uuid,
    });
    await client.call('domain.unpause', { domain: 'one' });
    expect((await client.call('domain.info', { domain: made.domid })).paused).toBe(false);
    await client.call('domain.rename', { domain: 'one', name: 'two' });
    expect(await client.call('domain.config', { domain: 'two' })).toMatchObject({ name: 'two', memory: 8, vcpus: 1 });
    await refused(client.call('domain.info', { domain: 'one' }), 'not-found', /no domain named one/);
    await client.call('domain.destroy', { domain: made.domid });
    expect(await client.call('domain.list', {})).toHaveLength(1);
  });

  it('refuse with a reason', async () => {
    await refused(client.call('domain.destroy', { domain: 77 }), 'not-found', /no guest with domain id 77/);
    await refused(client.call('domain.create', { config: config('a/b') }), 'usage', /config.name: a name has/);
    await refused(
      client.call('domain.create', { config: config('x', { kernel: '/nowhere' }) }),
      'refused',
      /no kernel at \/nowhere: there is no such file/,
    );
    await refused(client.call('domain.create', { config: config('x', { sparkle: 1 }) as never }), 'usage', /sparkle/);
    await refused(
      client.call('domain.create', { config: config('x', { maxmem: 4 }) }),
      'usage',
      /maxmem: 4 is less than/,
    );
    await client.call('domain.create', { config: config('x') });
    await refused(client.call('domain.create', { config: config('x') }), 'refused', /a domain of the name x/);
  });

  it('are refused where they make no sense', async () => {
    const path = callPath('domain.list');
    expect((await raw(path, 'GET')).status).toBe(405);
    expect((await raw('/v1/domain/frobnicate')).status).toBe(404);
    expect((await raw('/', 'GET')).status).toBe(404);
    expect((await raw(path, 'POST', '{')).status).toBe(400);
    expect((await raw(path, 'POST', '[]')).status).toBe(400);
    expect((await raw(path, 'POST', '{"x":1}')).status).toBe(400);
    expect((await raw(path, 'POST', ' '.repeat(2 << 20))).status).toBe(413);
    expect((await raw('/v1/console?domain=0', 'GET')).status).toBe(426);
    expect((await raw('/v1/events', 'GET', '', { 'Last-Event-ID': 'x' })).status).toBe(400);
    expect((await raw(path)).status).toBe(200);
  });

  it('have schemas with a summary each', () => {
    for (const call of Object.values(CALLS)) expect(call.summary).toMatch(/^\w.+[^.]$/);
  });

  it('need a host', async () => {
    const nobody = new Client(join(dir, 'nobody.sock'));
    await expect(nobody.call('domain.list', {})).rejects.toThrow(NoHostError);
    await expect(nobody.console(1)).rejects.toThrow(NoHostError);
  });
});

describe('beside the calls there are', () => {
  it('health, and figures for Prometheus', async () => {
    expect(await raw('/health', 'GET')).toEqual({ status: 200, text: '{"status":"ok"}' });
    await client.call('domain.create', { config: config('a"b') });
    const { text } = await raw('/metrics', 'GET');
    expect(text).toContain('# TYPE xenolith_domain_memory_bytes gauge\n');
    expect(text).toMatch(/^xenolith_domain_memory_bytes\{domid="\d+",name="a\\"b"\} 8388608$/m);
    expect(text).toMatch(/^xenolith_domains 2$/m);
    for (const line of text.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{.*\})? [\d.e+-]+)$/);
    expect((await raw('/metrics')).status).toBe(405);
  });

  it('a description of every call', async () => {
    const { text } = await raw('/v1/openapi.json', 'GET');
    const api = JSON.parse(text);
    expect(api.openapi).toBe('3.1.0');
    for (const name of Object.keys(CALLS)) {
      const { post } = api.paths[callPath(name as never)];
      expect(post.operationId).toBe(name);
      expect(post.requestBody.content['application/json'].schema.type).toBe('object');
    }
    const { properties } = api.paths['/v1/domain/create'].post.requestBody.content['application/json'].schema;
    expect(properties.config.properties.memory).toMatchObject({ type: 'integer', minimum: 1 });
    expect(properties.config.required).toEqual(expect.arrayContaining(['name', 'memory']));
  });

  it('a token, where one is asked for', async () => {
    const process = { started: 1, socket: 's', state: 'running' as const, stop: () => {} };
    const guarded = createApiServer({ host: Promise.resolve(host), process, warn: () => {}, token: 'secret' });
    guarded.listen(0, '127.0.0.1');
    await new Promise((resolve) => guarded.once('listening', resolve));
    const { port } = guarded.address() as AddressInfo;
    const get = (path: string, token?: string) =>
      fetch(`http://127.0.0.1:${port}${path}`, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
    for (const path of ['/metrics', '/v1/events', '/health', '/nothing']) {
      expect((await get(path)).status).toBe(401);
      expect((await get(path, 'wrong')).status).toBe(401);
    }
    expect((await get('/health', 'secret')).status).toBe(200);
    guarded.close();
    guarded.closeAllConnections();
  });
});

describe('events', () => {
  it('tell the life of a domain, and again what was missed', async () => {
    const stop = new AbortController();
    const seen: NumberedEvent[] = [];
    const begun = Promise.withResolvers<void>();
    const reading = (async () => {
      for await (const event of client.events({ signal: stop.signal, listening: begun.resolve })) {
        seen.push(event);
        if (event.type === 'domain.state' && event.state === 'destroyed') stop.abort();
      }
    })();
    await begun.promise;
    const { domid } = await client.call('domain.create', { config: config('one', { kernel: kernel('crashes') }) });
    await reading;
    expect(seen.map((e) => [e.type, 'state' in e ? e.state : ''])).toEqual([
      ['domain.created', ''],
      ['console', ''],
      ['domain.state', 'running'],
      ['domain.state', 'shutdown'],
      ['domain.crashed', ''],
      ['console', ''],
      ['domain.state', 'destroyed'],
    ]);
    expect(seen[3]).toMatchObject({ domid, name: 'one', reason: 'crash' });
    const again: NumberedEvent[] = [];
    for await (const event of client.events({ after: seen[1].id })) if (again.push(event) === 5) break;
    expect(again).toEqual(seen.slice(2));
  });
});

describe('a debugger', () => {
  it('is given an address, or told why not', async () => {
    await client.call('domain.create', { config: config('one') });
    const { address } = await client.call('domain.debug', { domain: 'one', at: 0 });
    expect(address).toMatch(/^127\.0\.0\.1:\d+$/);
    await expect(client.call('domain.debug', { domain: 'one', at: '/none/such/gdb' })).rejects.toThrow(/gdb cannot/);
    await expect(client.call('domain.debug', { domain: 'other', at: 0 })).rejects.toThrow(/no domain named other/);
    await client.call('domain.destroy', { domain: 'one' });
  });
});

describe('a console', () => {
  it('is upgraded to bytes, and ends with its domain', async () => {
    const { domid } = await client.call('domain.create', { config: config('one') });
    const stream = await client.console('one');
    const ended = new Promise((resolve) => stream.once('close', resolve));
    stream.resume();
    stream.write('x'.repeat(6000));
    while (host.toolstack.domain(domid).console.inputPending < 4000) await new Promise((r) => setTimeout(r, 5));
    await client.call('domain.destroy', { domain: domid });
    await ended;
  });

  it('that is not there is refused', async () => {
    await client.call('domain.create', { config: config('one') });
    await refused(client.console('nobody'), 'not-found', /no domain named nobody/);
    await refused(client.console('one', 3), 'refused', /no console 3/);
  });
});
