import { endingCommand } from '../ending.ts';

export const reboot = endingCommand({
  name: 'reboot',
  how: 'reboot',
  doing: 'Rebooting',
  options: {
    F: 'Fallback to ACPI reset event for HVM guests with no PV drivers.',
    wait: 'Wait for guest(s) to reboot.',
  },
});
