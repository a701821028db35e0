import { type Command, EXIT } from '../command.ts';
import { configuration } from '../configuration.ts';
import { findDomain } from '../domain.ts';
import { libxlConfig } from '../format/libxl-json.ts';

export const configUpdate: Command = {
  name: 'config-update',
  summary: "Update a running domain's saved configuration, used when rebuilding the domain after reboot",
  usage: '<Domain> <ConfigFile> [options] [vars]',
  canDryRun: true,
  modifies: true,
  options: [
    { short: 'f', long: 'defconfig', value: 'FILE', help: 'Use the given configuration file.' },
    { short: 'd', help: 'Enable debug messages.' },
  ],
  atLeast: 1,
  async run(context, args) {
    const [word, ...words] = args.positionals;
    context.say(
      'WARNING: xl now has better capability to manage domain configuration, avoid using this command when possible',
    );
    const client = await context.client();
    const { domid } = await findDomain(client, word);
    const spec = await configuration(context, args, words);
    if (context.dryRun || args.has('d')) context.print(JSON.stringify(libxlConfig(spec), null, 4));
    if (!context.dryRun) await client.call('domain.updateConfig', { domain: domid, config: spec });
    return EXIT.SUCCESS;
  },
};
