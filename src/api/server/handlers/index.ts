import { domainHandlers } from './domain.ts';
import type { Handlers } from './handler.ts';
import { hostHandlers } from './host.ts';

export const HANDLERS: Handlers = { ...hostHandlers, ...domainHandlers };
