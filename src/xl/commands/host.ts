/** `xl host`: the process that holds the machine. Not one of Xen's commands: there, the machine is the host. */
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { NoHostError } from '../../api/client.ts';
import { connectRunning, type StartReport, startHost } from '../../api/connect.ts';
import { HostRunningError } from '../../api/server/claim.ts';
import { type Arguments, type Command, CommandError, type Context, EXIT, UsageError } from '../command.ts';

/** File descriptor on which a started host reports. */
const REPORT_FD = 3;

interface MachineArguments {
  memoryMiB?: number;
  pcpus?: number;
  shutdownMs?: number;
  tcpPort?: number;
}

/** Value, bounds, unit of each option. */
const NUMBERS: readonly [option: string, key: keyof MachineArguments, min: number, max: number, factor: number][] = [
  ['memory', 'memoryMiB', 128, 4096, 1],
  ['pcpus', 'pcpus', 1, 64, 1],
  ['shutdown-timeout', 'shutdownMs', 0, 3600, 1000],
  ['tcp', 'tcpPort', 1, 65535, 1],
];

function machineArguments(args: Arguments): MachineArguments {
  const out: MachineArguments = {};
  for (const [option, key, min, max, factor] of NUMBERS) {
    const text = args.value(option);
    if (text === undefined) continue;
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new UsageError(`--${option} must be a whole number from ${min} to ${max}`);
    }
    out[key] = value * factor;
  }
  return out;
}

async function status({ paths, print }: Context): Promise<number> {
  let client: Awaited<ReturnType<typeof connectRunning>>;
  try {
    client = await connectRunning(paths);
  } catch (error) {
    if (!(error instanceof NoHostError)) throw error;
    print(error.message);
    return EXIT.FAILURE;
  }
  const s = await client.call('host.status', {});
  client.close();
  print(`state    : ${s.state}`);
  print(`pid      : ${s.pid}`);
  print(`version  : ${s.version}`);
  print(`socket   : ${s.socket}`);
  print(`started  : ${new Date(s.started).toISOString()}`);
  print(`memory   : ${s.memoryMiB} MiB`);
  print(`pcpus    : ${s.pcpus}`);
  print(`guests   : ${s.domains}`);
  return EXIT.SUCCESS;
}

async function start({ paths, say }: Context, args: Arguments): Promise<number> {
  machineArguments(args); // wrong ones are better said here than in a log
  try {
    (await connectRunning(paths)).close();
    say(`a host is running already (${paths.socket})`);
    return EXIT.SUCCESS;
  } catch (error) {
    if (!(error instanceof NoHostError)) throw error;
  }
  const options = NUMBERS.flatMap(([o]) => (args.has(o) ? [`--${o}=${args.value(o)}`] : []));
  try {
    await startHost(paths, options);
  } catch (error) {
    throw new CommandError((error as Error).message);
  }
  return EXIT.SUCCESS;
}

async function stop({ paths }: Context, args: Arguments): Promise<number> {
  const { shutdownMs } = machineArguments(args);
  const client = await connectRunning(paths);
  const begun = Promise.withResolvers<void>();
  const ended = (async () => {
    for await (const _ of client.events({ listening: begun.resolve }));
  })();
  await Promise.race([begun.promise, ended]);
  await client.call('host.stop', shutdownMs === undefined ? {} : { timeout: shutdownMs / 1000 });
  await ended;
  client.close();
  return EXIT.SUCCESS;
}

/** In the foreground: what `start` starts. */
async function run({ paths, say, build }: Context, args: Arguments): Promise<number> {
  const machine = machineArguments(args);
  await build();
  const { runHost } = await import('../../api/server/daemon.ts');
  try {
    return await runHost({
      ...machine,
      paths,
      warn: (message) => say(`${new Date().toISOString()} ${message}`),
      ready: () => report({ ready: true }),
    });
  } catch (error) {
    report({ error: (error as Error).message });
    if (error instanceof HostRunningError) throw new CommandError(error.message);
    throw error;
  }
}

/** Tells who started this process, if it asked for it with a pipe. */
function report(what: StartReport): void {
  try {
    if (!fstatSync(REPORT_FD).isFIFO() && !fstatSync(REPORT_FD).isSocket()) return;
    writeSync(REPORT_FD, JSON.stringify(what));
    closeSync(REPORT_FD);
  } catch {
    // Started from a shell: there is no such descriptor, or nobody at its other end.
  }
}

const ACTIONS: Record<string, (context: Context, args: Arguments) => Promise<number>> = { start, stop, status, run };

export const host: Command = {
  name: 'host',
  summary: 'Start, stop or look at the process that holds the machine',
  usage: 'start|stop|status|run [options]',
  options: [
    { long: 'memory', value: 'MiB', help: 'memory of the machine, 128 to 4096 (default)' },
    { long: 'pcpus', value: 'N', help: 'its processors (default: one less than the computer has)' },
    {
      long: 'tcp',
      value: 'PORT',
      help: 'serve the control API on 127.0.0.1 too, with the token of the file beside the socket',
    },
    { long: 'shutdown-timeout', value: 'SECONDS', help: 'what guests get to shut down in (default: 30)' },
  ],
  notes: 'Other commands start a host that is not there. `run` does the same in the foreground.',
  atLeast: 1,
  run(context, args) {
    const action = ACTIONS[args.positionals[0]];
    if (!action || args.positionals.length > 1) throw new UsageError('start, stop, status or run', true);
    return action(context, args);
  },
};
