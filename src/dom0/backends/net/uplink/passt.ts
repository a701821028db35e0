/**
 * passt, which gives a guest the host's network without privileges: it answers DHCP, ARP and NDP, and turns the guest's
 * connections into sockets of the host. It is started with one end of a socket pair and ends when that is closed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';

/** Why there is no way out, in words for the user. */
export class UplinkError extends Error {}

/** A port of the host that leads into the guest. */
export interface Forward {
  readonly protocol: 'tcp' | 'udp';
  /** Address of the host to listen on. */
  readonly address: string;
  readonly hostPort: number;
  readonly guestPort: number;
}

export interface PasstOptions {
  readonly forwards: readonly Forward[];
}

/** The guest's network, as QEMU's user networking has it; the gateway's address is also the host, as the guest sees it. */
export const GUEST_NETWORK = { address: '10.0.2.15', prefix: 24, gateway: '10.0.2.2' } as const;

const FORWARD = /^(tcp|udp):(?:(\d+\.\d+\.\d+\.\d+):)?(\d{1,5}):(\d{1,5})$/;

/** "tcp:2222:22" or "udp:127.0.0.1:5353:53": host side first. Without an address, the loopback interface. */
export function parseForward(text: string): Forward {
  const match = FORWARD.exec(text);
  const [hostPort, guestPort] = [Number(match?.[3]), Number(match?.[4])];
  const port = (n: number) => n >= 1 && n <= 65535;
  if (!match || !port(hostPort) || !port(guestPort)) {
    throw new UplinkError(`forward "${text}": it must be tcp or udp, then ports: tcp:[ADDRESS:]HOSTPORT:GUESTPORT`);
  }
  const address = match[2] ?? '127.0.0.1';
  if (address.split('.').some((part) => Number(part) > 255))
    throw new UplinkError(`forward "${text}": ${address} is no address`);
  return { protocol: match[1] as 'tcp' | 'udp', address, hostPort, guestPort };
}

export function passtArguments(o: PasstOptions): string[] {
  const { address, prefix, gateway } = GUEST_NETWORK;
  const ports = (protocol: Forward['protocol'], option: string) =>
    o.forwards
      .filter((f) => f.protocol === protocol)
      .flatMap((f) => [option, `${f.address}/${f.hostPort}:${f.guestPort}`]);
  return [
    ...['--foreground', '--quiet', '--fd', '3'],
    ...['--address', address, '--netmask', String(prefix), '--gateway', gateway],
    ...ports('tcp', '--tcp-ports'),
    ...ports('udp', '--udp-ports'),
  ];
}

export interface Passt {
  readonly socket: Duplex;
  /** Resolves when it has ended, with what it said last. */
  readonly ended: Promise<string>;
}

export function startPasst(o: PasstOptions): Passt {
  const child: ChildProcess = spawn('passt', passtArguments(o), { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT';
      resolve(
        missing ? 'passt is not installed (apt-get install passt); without it guests have bridges only' : error.message,
      );
    });
    child.once('close', (code, signal) =>
      resolve(`passt ended (${signal ?? code}): ${said.trim().split('\n').at(-1)}`),
    );
  });
  const socket = child.stdio[3] as Duplex;
  socket.on('error', () => socket.destroy());
  return { socket, ended };
}
