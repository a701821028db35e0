/** Grants that a new domain finds made: those of its rings, for the two daemons. */
import { GNTTAB_RESERVED, GrantEntryV1, GTF } from '../../../abi/grant_table.ts';
import { XENMEM_resource, XENMEM_resource_grant_table_id } from '../../../abi/memory.ts';
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import type { BuiltDomain, DomainBuild } from './builder.ts';

/** Lets the two daemons map their pages (they may be in other domains than the toolstack). */
export function seedGrants(xen: Hypercalls, domid: number, b: DomainBuild, built: BuiltDomain): void {
  // Of the machine, whatever the domain's own frame numbers are: the table is not in its physical memory.
  const [mfn] = xen.memoryOp.acquireResource(
    domid,
    XENMEM_resource.grant_table,
    XENMEM_resource_grant_table_id.shared,
    0,
    1,
  );
  for (const [ref, frame, to] of [
    [GNTTAB_RESERVED.CONSOLE, built.consoleGfn, b.consoleDomid],
    [GNTTAB_RESERVED.XENSTORE, built.storeGfn, b.storeDomid],
  ]) {
    const entry = xen.memory.struct(mfn * PAGE_SIZE + ref * GrantEntryV1.size, GrantEntryV1);
    entry.set('frame', frame).set('domid', to).set('flags', GTF.permit_access);
  }
}
