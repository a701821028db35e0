/**
 * xl.conf(5): defaults for every command. Read from `$XL_CONF`, or else from `/etc/xen/xl.conf` for root and
 * `~/.config/xenolith/xl.conf` for others; a file that is not there is as good as an empty one.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseCpuList } from '../dom0/toolstack/cpu-list.ts';
import type { DomainSpec } from '../dom0/toolstack/spec.ts';
import { parseCfg } from '../dom0/toolstack/xlcfg/parser.ts';
import { CfgError, CfgReader, formatProblem } from '../dom0/toolstack/xlcfg/reader.ts';

export interface XlConf {
  /** What a domain gets whose file does not say. */
  readonly defaults: Partial<DomainSpec>;
  readonly claimMode: boolean;
  /** Takes the CPUs out of a map of `cpus` CPUs that vm.cpumask or vm.pv.cpumask leave out. */
  readonly maskCpus: (map: bigint, cpus: number) => bigint;
  /** Has it masks at all? */
  readonly hasMasks: boolean;
  readonly warnings: readonly string[];
}

/** They say how Xen's dom0 works; this one's does not work so. */
const NO_EFFECT =
  'autoballoon run_hotplug_scripts lockfile vifscript vif.default.script defaultbridge vif.default.bridge vif.default.gatewaydev vif.default.backend blkdev_start remus.default.netbufscript colo.default.proxyscript vm.hvm.cpumask bootloader_restrict';
const LIMITS = ['max_grant_frames', 'max_maptrack_frames', 'max_grant_version'] as const;
const OTHERS = ['output_format', 'claim_mode', 'vm.cpumask', 'vm.pv.cpumask', 'domid_policy', ...LIMITS];
const KNOWN = new Set([...NO_EFFECT.split(' '), ...OTHERS]);

function confPath(env: NodeJS.ProcessEnv): string {
  if (env.XL_CONF) return env.XL_CONF;
  return process.getuid?.() === 0
    ? '/etc/xen/xl.conf'
    : join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'xenolith', 'xl.conf');
}

/** Throws CfgSyntaxError or CfgError. */
export function readConf(env: NodeJS.ProcessEnv = process.env): XlConf {
  const path = confPath(env);
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return parseConf(text, path);
}

export function parseConf(text: string, name: string): XlConf {
  const r = new CfgReader(parseCfg(text, name));
  for (const key of r.file.keys()) if (!KNOWN.has(key)) r.warn(key, 'warning: is no key of xl.conf; ignored');
  const format = r.string('output_format');
  if (format === 'sxp') r.problem('output_format', 'sxp: not supported yet; see docs/SUPPORT.md');
  else if (format !== undefined && format !== 'json')
    r.problem('output_format', `invalid default output format "${format}"`);
  if (r.string('domid_policy') === 'random')
    r.problem('domid_policy', 'random: not supported yet; see docs/SUPPORT.md');
  const defaults: Record<string, number> = {};
  for (const key of LIMITS) {
    const value = r.number(key);
    if (value !== undefined) defaults[key] = value;
  }
  const claimMode = r.boolean('claim_mode') ?? true;
  const masks = ['vm.cpumask', 'vm.pv.cpumask'].flatMap((key) => r.string(key) ?? []);
  if (r.problems.length > 0) throw new CfgError(name, r.problems);
  return {
    defaults,
    claimMode,
    maskCpus: (map, cpus) => masks.reduce((m, list) => m & parseCpuList(list, cpus), map),
    hasMasks: masks.length > 0,
    warnings: r.warnings.map((w) => formatProblem(name, w)),
  };
}
