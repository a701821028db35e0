/** Domains that run the guest `load` (src/load.c): work of a known kind for tests of scheduling and of many domains. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Host } from '../../src/dom0/host.ts';
import type { Domain } from '../../src/dom0/toolstack/domain.ts';

const IMAGE = new URL('./images/load.elf', import.meta.url);
let image: Uint8Array | undefined;

export interface LoadGuest {
  readonly domain: Domain;
  /** What it has printed so far. */
  output(): string;
}

/** A domain with `load`'s command line, paused. */
export function createLoad(host: Host, name: string, cmdline: string, memoryMiB = 16): LoadGuest {
  image ??= new Uint8Array(readFileSync(IMAGE));
  const domain = host.toolstack.create({
    name,
    memoryMiB,
    vcpus: 1,
    kernel: image,
    kernelName: 'load.elf',
    cmdline,
    onPoweroff: 'preserve',
    onCrash: 'preserve',
  });
  const chunks: Uint8Array[] = [];
  domain.console.attach({ paces: false, write: (bytes) => chunks.push(bytes.slice()) > 0, onDrain: () => {} });
  return {
    domain,
    output: () => {
      domain.console.event();
      return Buffer.concat(chunks).toString('latin1').replaceAll('\r', '');
    },
  };
}

/** ns of running time of a domain so far. */
export const cpuTime = (host: Host, domid: number): number =>
  Number(host.xen.domctl.getDomainInfo(domid)?.cpuTime ?? 0n);

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Bytes in use, for comparisons: frames of the machine, and what JavaScript holds in this thread. */
export function overhead(host: Host): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  const { totalPages, freePages } = host.xen.sysctl.physInfo();
  return (totalPages - freePages) * 4096 + heapUsed + external;
}
