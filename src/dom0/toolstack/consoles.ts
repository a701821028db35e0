/** The consoles of a guest, as the toolstack shows them. */
import { XenbusState } from '../../abi/xenbus.ts';
import { frontendPath } from './devices/device.ts';
import { domainPath } from './store.ts';
import type { Toolstack } from './toolstack.ts';

export interface ConsoleEntry {
  /** 0: the first. */
  readonly number: number;
  /** Of the channel; empty for the first console. */
  readonly name: string;
  readonly connected: boolean;
  readonly connection: 'pty' | 'socket';
  /** Of its socket; null where it has a pty. */
  readonly path: string | null;
  /** Path of its pty; null where it has none. */
  readonly tty: string | null;
  /** XenbusState of the front end. */
  readonly state: number;
  /** -1: not connected, as `ringRef`. */
  readonly eventChannel: number;
  readonly ringRef: number;
}

/** Throws NoDomainError. What the guest wrote and is no number shows as -1. */
export function listConsoles(toolstack: Toolstack, which: number | string): ConsoleEntry[] {
  const { store } = toolstack;
  const domain = toolstack.domain(which);
  const number = (path: string) => {
    const text = store.tryRead(path) ?? '';
    return /^\d{1,10}$/.test(text) ? Number(text) : -1;
  };
  const first = `${domainPath(domain.domid)}/console`;
  return [
    {
      number: 0,
      name: '',
      connected: true,
      connection: 'pty' as const,
      path: null,
      tty: store.tryRead(`${first}/tty`) || null,
      state: XenbusState.Connected,
      eventChannel: number(`${first}/port`),
      ringRef: number(`${first}/ring-ref`),
    },
    ...domain.channels.map(({ id, name, path, console }) => ({
      number: id.devid,
      name,
      connected: console !== undefined,
      connection: path === undefined ? ('pty' as const) : ('socket' as const),
      path: path ?? null,
      tty: store.tryRead(`${frontendPath(id)}/tty`) || null,
      state: number(`${frontendPath(id)}/state`),
      eventChannel: number(`${frontendPath(id)}/port`),
      ringRef: number(`${frontendPath(id)}/ring-ref`),
    })),
  ];
}
