import type { Client } from '../../api/client.ts';
import { cpusOf, parseCpuList } from '../../dom0/toolstack/cpu-list.ts';
import type { DomainSpec } from '../../dom0/toolstack/spec.ts';
import { type Command, CommandError, type Context, EXIT } from '../command.ts';
import { configuration } from '../configuration.ts';
import { attachConsole } from '../console.ts';
import { libxlConfig } from '../format/libxl-json.ts';

export const create: Command = {
  name: 'create',
  summary: 'Create a domain from config file <filename>',
  usage: '<ConfigFile> [options] [vars]',
  canDryRun: true,
  modifies: true,
  options: [
    { short: 'c', help: 'Connect to the console after the domain is created.' },
    { short: 'd', help: 'Enable debug messages.' },
    { short: 'e', help: 'Do not wait in the background for the death of the domain.' },
    { short: 'F', help: 'Run in foreground until death of the domain.' },
    { short: 'f', long: 'defconfig', value: 'FILE', help: 'Use the given configuration file.' },
    { short: 'n', long: 'dryrun', help: 'Dry run - prints the resulting configuration.' },
    { short: 'p', help: 'Leave the domain paused after it is created.' },
    { short: 'q', long: 'quiet', help: 'Quiet.' },
    { short: 'V', long: 'vncviewer', help: 'Connect to the VNC display after the domain is created.' },
    { short: 'A', long: 'vncviewer-autopass', help: 'Pass VNC password to viewer via stdin.' },
    { long: 'ignore-global-affinity-masks', help: 'Ignore global masks in xl.conf.' },
  ],
  async run(context, args) {
    for (const option of ['vncviewer', 'vncviewer-autopass']) {
      if (args.has(option)) throw new CommandError(`--${option}: VNC is not supported yet; see docs/SUPPORT.md`);
    }
    const spec = await configuration(context, args, args.positionals);
    const dryRun = context.dryRun || args.has('dryrun');
    if (dryRun || args.has('d')) (dryRun ? context.print : context.say)(JSON.stringify(libxlConfig(spec), null, 4));
    if (dryRun) return EXIT.SUCCESS;
    const client = await context.client();
    const debug = (message: string) => args.has('d') && context.say(`xl: ${message}`);
    const withConsole = args.has('c');
    const paused = args.has('p');
    const { domid } = await client.call(
      'domain.create',
      {
        config: args.has('ignore-global-affinity-masks') ? spec : await masked(context, client, spec),
        paused: paused || withConsole,
        monitor: !args.has('e'),
      },
      debug,
    );
    if (withConsole) {
      const ended = attachConsole(await client.console(domid));
      if (!paused) await client.call('domain.unpause', { domain: domid });
      await ended;
    }
    if (args.has('F')) {
      for await (const event of client.events()) {
        if (event.type === 'domain.state' && event.domid === domid && event.state === 'destroyed') break;
      }
    }
    return EXIT.SUCCESS;
  },
};

/** The domain's hard affinity without the CPUs that xl.conf's masks leave out. */
async function masked(context: Context, client: Client, spec: DomainSpec): Promise<DomainSpec> {
  const { hasMasks, maskCpus } = await context.conf();
  if (!hasMasks) return spec;
  const { cpus } = await client.call('host.info', {});
  const mask = (list: string) => {
    const map = maskCpus(parseCpuList(list, cpus), cpus);
    if (map === 0n) throw new CommandError('vcpu hard affinity map is empty');
    return cpusOf(map).join(',');
  };
  const hard = spec.cpus ?? 'all';
  return { ...spec, cpus: typeof hard === 'string' ? mask(hard) : hard.map(mask) };
}
