import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { Scheduler } from '../../api/schema/scheduler.ts';
import { cpusOf, parseCpuList } from '../../dom0/toolstack/cpu-list.ts';
import { parseCfg } from '../../dom0/toolstack/xlcfg/parser.ts';
import { CfgError, CfgReader } from '../../dom0/toolstack/xlcfg/reader.ts';
import { type Command, CommandError, EXIT, UsageError } from '../command.ts';

/** Keys of xlcpupool.cfg(5). */
const KEYS = ['name', 'sched', 'nodes', 'cpus'];

export const cpupoolCreate: Command = {
  name: 'cpupool-create',
  summary: 'Create a new CPU pool',
  usage: '[options] [<ConfigFile>] [Variable=value ...]',
  canDryRun: true,
  modifies: true,
  options: [
    { short: 'f', long: 'defconfig', value: 'FILE', help: 'Use the given configuration file.' },
    { short: 'n', long: 'dryrun', help: 'Dry run - prints the resulting configuration.' },
  ],
  async run({ client, print, cwd, dryRun }, args) {
    let file = args.value('defconfig');
    const extra: string[] = [];
    for (const word of args.positionals) {
      if (word.includes('=')) extra.push(word);
      else if (file === undefined) file = word;
      else throw new UsageError(`more than one configuration file: ${file}, ${word}`, true);
    }
    const source = file ?? 'command line';
    const r = new CfgReader(parseCfg([file ? read(resolve(cwd, file)) : '', ...extra, ''].join('\n'), source));
    for (const key of r.file.keys()) if (!KEYS.includes(key)) r.problem(key, 'is no key of xlcpupool.cfg');
    const name = r.string('name') ?? (file && basename(file));
    if (name === undefined) throw new CommandError('Missing cpupool name!');
    const c = await client();
    const info = await c.call('host.info', {});
    const scheduler = Scheduler.safeParse(r.string('sched') ?? info.scheduler);
    if (!scheduler.success) r.problem('sched', 'Unknown scheduler');
    const nodes = r.strings('nodes');
    const list = r.stringOrStrings('cpus');
    if (r.problems.length > 0) throw new CfgError(source, r.problems);
    // The machine has one node: all of its free CPUs.
    const cpus = nodes ? info.freeCpus.join(',') : [list ?? []].flat().join(',');
    if (nodes && cpus === '') throw new CommandError('no free cpu found');
    print(`Using config file "${source}"`);
    print(`cpupool name:   ${name}`);
    print(`scheduler:      ${scheduler.data}`);
    print(`number of cpus: ${cpus === '' ? 0 : cpusOf(parseCpuList(cpus, info.cpus)).length}`);
    if (!dryRun && !args.has('dryrun')) {
      await c.call('cpupool.create', { name, scheduler: scheduler.data, cpus: cpus === '' ? undefined : cpus });
    }
    return EXIT.SUCCESS;
  },
};

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CommandError(`Failed to read config file: ${path}: ${(error as Error).message}`);
  }
}
