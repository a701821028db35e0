import { endingCommand } from '../ending.ts';

export const shutdown = endingCommand({
  name: 'shutdown',
  how: 'poweroff',
  doing: 'Shutting down',
  options: {
    F: 'Fallback to ACPI power event for HVM guests with no PV drivers.',
    wait: 'Wait for guest(s) to shutdown.',
  },
});
