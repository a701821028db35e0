import { listConsoles } from '../../../dom0/toolstack/consoles.ts';
import type { consoleCalls } from '../../schema/console.ts';
import type { Handlers } from './handler.ts';

export const consoleHandlers: Handlers<keyof typeof consoleCalls> = {
  'console.list': ({ host }, { domain }) => listConsoles(host.toolstack, domain),
};
