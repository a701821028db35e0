/** How much memory a guest should have, and may have: the balloon's target and the hypervisor's limit. */
import { ToolstackError } from './error.ts';
import { domainPath } from './store.ts';
import { MAXMEM_SLACK_KIB, type Toolstack } from './toolstack.ts';

const pathOf = (domid: number) => `${domainPath(domid)}/memory`;
const read = (toolstack: Toolstack, domid: number, key: string) =>
  Number(toolstack.store.read(`${pathOf(domid)}/${key}`));

/** Asks the guest's balloon driver for `kib`, and lets it have no more. */
export function setMemoryTarget(toolstack: Toolstack, domid: number, kib: number): void {
  const { name } = toolstack.domain(domid);
  const most = read(toolstack, domid, 'static-max');
  if (kib > most) {
    throw new ToolstackError(`${kib} KiB is more than domain ${name} can have: ${most} KiB (maxmem when it was made)`);
  }
  if (kib === 0) throw new ToolstackError(`domain ${name} cannot do without memory`);
  toolstack.xen.domctl.setMaxMem(domid, kib + MAXMEM_SLACK_KIB);
  toolstack.store.write(`${pathOf(domid)}/target`, `${kib}`);
}

/** What the hypervisor lets the guest have; the guest is not told. */
export function setMemoryMax(toolstack: Toolstack, domid: number, kib: number): void {
  const { name } = toolstack.domain(domid);
  const target = read(toolstack, domid, 'target');
  if (kib < target)
    throw new ToolstackError(`${kib} KiB is less than what domain ${name} should have now: ${target} KiB`);
  toolstack.xen.domctl.setMaxMem(domid, kib + MAXMEM_SLACK_KIB);
}
