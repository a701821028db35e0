/** Fields of a domain's structure, where the hypervisor keeps them. */
import { MACHINE_INFO_ADDRESS, MachineInfo } from '../../src/machine/layout.ts';
import { structOffset } from './struct-offset.ts';

const field = (name: string) => structOffset('domain.ts', 'Domain', name);

/** Address of the domain's structure; 0: there is none. */
export function domainAddress(memory: WebAssembly.Memory, domid: number): number {
  const view = new DataView(memory.buffer);
  const u32 = (at: number) => view.getUint32(at, true);
  let d = u32(
    u32(MACHINE_INFO_ADDRESS + MachineInfo.off.hypervisor) + structOffset('state.ts', 'Hypervisor', 'domain_list'),
  );
  while (d !== 0 && u32(d + field('domid')) !== domid) d = u32(d + field('next'));
  return d;
}

/** Address of one of its u32 fields. */
export const domainField = (memory: WebAssembly.Memory, domid: number, name: string): number =>
  domainAddress(memory, domid) + field(name);
