/** Runs a test guest as a domain of a host and gives its transcript. */
import { readFileSync } from 'node:fs';
import type { Host } from '../../src/dom0/host.ts';
import { imagePath, MEMORY_MIB, type Run, transcript } from './runs.ts';

export interface GuestResult {
  readonly transcript: string;
  /** Free pages of the machine before it was made, and after it was destroyed. */
  readonly freeBefore: number;
  readonly freeAfter: number;
}

export async function runGuest(host: Host, r: Run): Promise<GuestResult> {
  const free = () => host.xen.sysctl.physInfo().freePages;
  const freeBefore = free();
  const domain = host.toolstack.create({
    name: r.name,
    memoryMiB: MEMORY_MIB,
    vcpus: r.vcpus ?? 1,
    kernel: new Uint8Array(readFileSync(imagePath(r))),
    kernelName: `${r.image}.elf`,
    cmdline: r.cmdline,
    onReboot: 'preserve',
    onCrash: 'preserve',
  });
  const chunks: Uint8Array[] = [];
  const detach = domain.console.attach({
    paces: false,
    write: (bytes) => chunks.push(bytes.slice()) > 0,
    onDrain: () => {},
  });
  domain.unpause();
  const timer = setTimeout(() => domain.destroy(), r.seconds * 1000);
  const end = await domain.ended;
  clearTimeout(timer);
  // what it wrote last
  domain.console.event();
  detach();
  domain.destroy();
  return { transcript: transcript(Buffer.concat(chunks).toString('latin1'), end), freeBefore, freeAfter: free() };
}
