/** Debian guests on a bridge and behind passt: ping, streams, DHCP, a server of the host and one of the guest. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import type { NicConfig } from '../../src/dom0/toolstack/devices/nic.ts';
import { HostGuest, shellConfig } from './host-guest.ts';

const MIB = 1 << 20;
const payload = randomBytes(2 * MIB);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

let dir: string;
let host: Host;
let server: Server;
let a: HostGuest;
let b: HostGuest;
let forwarded: number;

const listen = (s: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }) =>
  new Promise<number>((resolve) => s.listen(0, '127.0.0.1', () => resolve((s.address() as AddressInfo).port)));

async function freePort(): Promise<number> {
  const s = createTcpServer();
  const port = await listen(s);
  await new Promise((resolve) => s.close(resolve));
  return port;
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'net-e2e-'));
  server = createServer((_, response) => response.end(payload));
  await listen(server);
  forwarded = await freePort();
  host = await Host.create({ memoryMiB: 2048, pcpus: 2 });
  const config = await shellConfig({ modules: true });
  const start = async (name: string, nics: readonly NicConfig[]) => {
    const guest = new HostGuest(host, await host.toolstack.createWithDevices({ ...config, name, nics }));
    guest.domain.unpause();
    return guest;
  };
  const nat = { script: 'vif-nat', forwards: [`tcp:${forwarded}:80`] };
  a = await start('a', [{ capture: join(dir, 'a.pcap') }, nat]);
  b = await start('b', [{ dhcp: '192.168.7.0/24' }]);
  const script = [
    '#!/bin/sh',
    '[ "$1" = bound ] || exit 0',
    'ip addr add $ip/$mask dev $interface',
    '[ -z "$router" ] || ip route add default via $router',
  ];
  for (const guest of [a, b]) {
    await guest.ready();
    for (const line of script) await guest.shell(`echo '${line}' >> /dhcp.sh`);
    await guest.shell('chmod +x /dhcp.sh');
  }
});

test('a bridge gives addresses', async () => {
  for (const [n, guest] of [a, b].entries()) {
    await guest.shell('ip link set eth0 up; udhcpc -q -n -t 10 -i eth0 -s /dhcp.sh');
    expect(await guest.shell('ip -4 addr show eth0')).toContain(`inet 192.168.7.${n + 2}/24`);
  }
});

afterAll(async () => {
  await host?.stop();
  server?.close();
  rmSync(dir, { recursive: true, force: true });
});

test('guests on a bridge reach each other', async () => {
  const out = await a.shell('ping -c 3 -i 0.2 -W 10 192.168.7.3');
  expect(out).toContain('3 packets received, 0% packet loss');
});

test('a stream arrives whole, with segments and checksums left to the other end', async () => {
  await b.shell('nc -l -p 5000 > /tmp/got &');
  await a.shell('head -c 4194304 /dev/urandom > /tmp/data; nc 192.168.7.3 5000 < /tmp/data');
  const [sent] = /[0-9a-f]{64}/.exec(await a.shell('sha256sum < /tmp/data'))!;
  expect(await b.shell('sync; sleep 1; sha256sum < /tmp/got')).toContain(sent);
});

test('passt gives an address, and a way to a server of the host', async () => {
  await a.shell('ip link set eth1 up; udhcpc -q -n -i eth1 -s /dhcp.sh');
  expect(await a.shell('ip -4 addr show eth1')).toContain('inet 10.0.2.15/24');
  const { port } = server.address() as AddressInfo;
  const received = async () => Number(await a.shell('cat /sys/class/net/eth1/statistics/rx_bytes'));
  const before = await received();
  const got = await a.shell(`wget -q -O - http://10.0.2.2:${port}/ | sha256sum`);
  expect(got).toContain(sha256(payload));
  // Not a window of it twice: passt loses nothing of what the guest's windows let it send (uplink/window.ts).
  expect((await received()) - before).toBeLessThan(1.2 * payload.length);
});

test('a program of the host reaches a server in the guest through a forward', async () => {
  await a.shell('mkdir -p /www; cp /tmp/data /www/; httpd -p 80 -h /www');
  const response = await fetch(`http://127.0.0.1:${forwarded}/data`);
  const body = new Uint8Array(await response.arrayBuffer());
  expect(await a.shell('sha256sum < /tmp/data')).toContain(sha256(body));
});

test('a forward leads to the guest again after passt died', async () => {
  const passts = () =>
    execFileSync('pgrep', ['-P', `${process.pid}`, '-f', `127.0.0.1/${forwarded}:80`], { encoding: 'utf8' });
  const [pid] = passts().split('\n');
  process.kill(Number(pid), 'SIGKILL');
  const head = () => fetch(`http://127.0.0.1:${forwarded}/data`, { method: 'HEAD' });
  await expect.poll(async () => (await head().catch(() => undefined))?.status, { timeout: 9000 }).toBe(200);
});

test('a card can come and go while the guest runs', async () => {
  const id = await host.devices.nics.attach(b.domain.domid, { mac: '00:16:3e:11:22:33' });
  expect(await b.shell('sleep 1; ip link show eth1')).toContain('00:16:3e:11:22:33');
  await host.devices.nics.detach(b.domain.domid, `${id.devid}`);
  expect(await b.shell('sleep 1; ls /sys/class/net')).not.toContain('eth1');
});

test('the network goes on after its back end was killed', async () => {
  const [nic] = host.devices.nics.list(b.domain.domid);
  for (let n = 0; n < 3; n++) {
    await host.devices.drivers.of(nic.id)!.kill();
    expect(await a.shell('ping -c 2 -W 10 192.168.7.3')).toContain('2 packets received');
  }
});

test('tshark reads the capture', () => {
  const out = execFileSync('tshark', ['-r', join(dir, 'a.pcap'), '-Y', 'icmp.type == 8'], { encoding: 'utf8' });
  expect(out).toMatch(/192\.168\.7\.2 → 192\.168\.7\.3 +ICMP/);
  const replies = execFileSync('tshark', ['-r', join(dir, 'a.pcap'), '-Y', 'icmp.type == 0'], { encoding: 'utf8' });
  expect(replies).toMatch(/192\.168\.7\.3 → 192\.168\.7\.2 +ICMP/);
});
