/** Completion for bash and zsh, made from the table: completions/xl.bash and completions/xl.zsh (scripts/completions.ts). */
import type { Command } from './command.ts';

const HOST_ACTIONS = 'start stop status run';
/** Names of the domains of a running host; nothing is started for it. */
const DOMAINS = `xl host status >/dev/null 2>&1 && xl list 2>/dev/null | awk 'NR > 1 { print $1 }'`;

const optionWords = (c: Command) =>
  (c.options ?? []).flatMap((o) => [o.short && `-${o.short}`, o.long && `--${o.long}`]).filter((w) => w);

/** What may stand after the command: files for those that take a configuration file, domains for most others. */
function kind(c: Command): 'files' | 'domains' | 'commands' | 'host' | 'nothing' {
  if (c.name === 'help') return 'commands';
  if (c.name === 'host') return 'host';
  if (c.usage.includes('ConfigFile') && c.name !== 'config-update') return 'files';
  return c.usage.includes('Domain') ? 'domains' : 'nothing';
}

export function bashCompletion(commands: readonly Command[]): string {
  const names = commands.map((c) => c.name).join(' ');
  const cases = commands.map((c) => {
    const words = {
      files: '__files__',
      domains: `$(${DOMAINS})`,
      commands: names,
      host: HOST_ACTIONS,
      nothing: '',
    }[kind(c)];
    const options = optionWords(c).join(' ');
    return words === '__files__'
      ? `    ${c.name}) options="${options}"; files=1 ;;`
      : `    ${c.name}) options="${options}"; words="${words}" ;;`;
  });
  return `# Completion of xl for bash. Made by scripts/completions.ts; use: source xl.bash
_xl() {
  local current=\${COMP_WORDS[COMP_CWORD]} command=\${COMP_WORDS[1]} options="" words="" files=""
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "${names}" -- "$current")
    return
  fi
  case $command in
${cases.join('\n')}
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ -n $files ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
}
complete -o filenames -F _xl xl xenolith
`;
}

const quote = (text: string) => text.replaceAll("'", "'\\''");

export function zshCompletion(commands: readonly Command[]): string {
  const described = commands.map((c) => `    '${c.name}:${quote(c.summary.replaceAll(':', ' '))}'`);
  const cases = commands.map((c) => {
    const options = optionWords(c);
    const flags = options.length > 0 ? `compadd -- ${options.join(' ')}` : 'true';
    const rest = {
      files: '_files',
      domains: `compadd -- $(${DOMAINS})`,
      commands: '_describe command commands',
      host: `compadd -- ${HOST_ACTIONS}`,
      nothing: 'true',
    }[kind(c)];
    return `    ${c.name}) if [[ $PREFIX == -* ]]; then ${flags}; else ${rest}; fi ;;`;
  });
  return `#compdef xl xenolith
# Completion of xl for zsh. Made by scripts/completions.ts; put it into a folder of $fpath as _xl.
_xl() {
  local -a commands
  commands=(
${described.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  case $words[2] in
${cases.join('\n')}
  esac
}
_xl "$@"
`;
}
