/** `xl image`: makes disks to boot from. Not one of Xen's commands: there, xen-tools' xen-create-image does it. */
import { readFileSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { buildImage, type DebianOptions, IMAGE_FORMATS, ImageBuildError } from '../../image/build.ts';
import { type Arguments, type Command, CommandError, type Context, EXIT, UsageError } from '../command.ts';

const DEFAULT_SIZE_MIB = 2048;

/** "2048", "2048M" or "8G", in MiB. */
function sizeOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_SIZE_MIB;
  const match = /^(\d+)([MG]?)$/.exec(text);
  if (!match) throw new UsageError(`--size ${text}: it must be like 2048M or 8G`);
  return Number(match[1]) * (match[2] === 'G' ? 1024 : 1);
}

function options(context: Context, args: Arguments): DebianOptions {
  const read = (option: string): string | undefined => {
    const file = args.value(option);
    try {
      return file === undefined ? undefined : readFileSync(resolve(context.cwd, file), 'utf8').trim();
    } catch (error) {
      throw new CommandError(`--${option}: ${(error as Error).message}`);
    }
  };
  const flavour = args.value('flavour') ?? 'cloud';
  if (flavour !== 'cloud' && flavour !== 'generic') throw new UsageError('--flavour is cloud or generic');
  return {
    sizeMiB: sizeOf(args.value('size')),
    suite: args.value('suite') ?? 'bookworm',
    mirror: args.value('mirror'),
    flavour,
    hostname: args.value('hostname') ?? 'debian',
    user: args.value('user'),
    password: read('password-file'),
    sshKeys: read('ssh-key')?.split('\n'),
    packages: args.value('packages')?.split(','),
  };
}

export const image: Command = {
  name: 'image',
  summary: 'Make a disk with an operating system to boot from',
  usage: 'debian <File> [options]',
  options: [
    { long: 'size', value: 'SIZE', help: `of the disk, as 2048M or 8G (default: ${DEFAULT_SIZE_MIB}M)` },
    { long: 'suite', value: 'NAME', help: "Debian's release (default: bookworm)" },
    { long: 'flavour', value: 'NAME', help: "which of Debian's kernels: cloud (default) or generic" },
    { long: 'mirror', value: 'URL', help: 'where the packages come from' },
    { long: 'packages', value: 'LIST', help: 'more packages, separated by commas' },
    { long: 'hostname', value: 'NAME', help: 'name of the machine (default: debian)' },
    { long: 'user', value: 'NAME', help: 'an account that may use sudo; else password and key are root’s' },
    { long: 'password-file', value: 'FILE', help: 'its password, alone in a file' },
    { long: 'ssh-key', value: 'FILE', help: 'public keys that may log in' },
  ],
  notes: `The format follows from the file's name: ${Object.keys(IMAGE_FORMATS).join(', ')}. Needs mmdebstrap and e2fsprogs, but not root.`,
  atLeast: 2,
  async run(context, args) {
    const [kind, file, ...rest] = args.positionals;
    if (kind !== 'debian' || rest.length > 0) throw new UsageError('debian and a file', true);
    const out = resolve(context.cwd, file);
    if (!(extname(out) in IMAGE_FORMATS)) {
      throw new UsageError(`${file}: its name must end in ${Object.keys(IMAGE_FORMATS).join(', ')}`);
    }
    try {
      await buildImage(out, options(context, args), (line) => context.say(`image: ${line}`));
    } catch (error) {
      if (error instanceof ImageBuildError) throw new CommandError(error.message);
      throw error;
    }
    context.print(out);
    return EXIT.SUCCESS;
  },
};
