/**
 * The SDK: `import { Host } from 'xenolith'`. A host in this process or one that is connected to, its domains, their consoles.
 *
 * ```ts
 * await using host = await Host.start();
 * await using guest = await host.create({ name: 'web', kernel: '/boot/vmlinuz', ramdisk: '/boot/initrd.img', memory: 256 });
 * const console = await guest.console();
 * await console.expect(/login: $/);
 * ```
 */

export { ApiError, NoHostError } from '../api/client.ts';
export type { DomainInfo } from '../api/schema/domain.ts';
export type { NumberedEvent, ToolstackEvent } from '../dom0/toolstack/events.ts';
export type { DomainSpecInput as DomainConfig } from '../dom0/toolstack/spec.ts';
export { Console, ExpectError } from './console.ts';
export { Domain, type DomainEnd } from './domain.ts';
export { Host, type StartOptions } from './host.ts';
