import { CommandError } from '../command.ts';
import { domainCommand } from '../simple.ts';

export const buttonPress = domainCommand({
  name: 'button-press',
  summary: 'Indicate an ACPI button press to the domain',
  usage: '<Domain> <Button>',
  notes: "<Button> may be 'power' or 'sleep'. Deprecated: use trigger.",
  more: 1,
  act(client, { domid }, [button]) {
    if (button !== 'power' && button !== 'sleep') throw new CommandError(`${button} is an invalid button identifier`);
    return client.call('domain.trigger', { domain: domid, trigger: button });
  },
});
