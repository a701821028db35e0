import { arch, hostname, release, version } from 'node:os';
import type { HostInfo } from '../../api/schema/host.ts';
import { type Command, EXIT } from '../command.ts';

const MACHINE: Record<string, string> = { x64: 'x86_64', arm64: 'aarch64' };
const PAGES_PER_MIB = 256;
const mib = (pages: number) => `${Math.floor(pages / PAGES_PER_MIB)}`;

function rows(i: HostInfo): [string, string][] {
  const { version: v } = i;
  const khz = `${i.cpuKhz % 1000}`.padStart(3, '0');
  return [
    ['host', hostname()],
    ['release', release()],
    ['version', version()],
    ['machine', MACHINE[arch()] ?? arch()],
    ['nr_cpus', `${i.cpus}`],
    ['max_cpu_id', `${i.maxCpuId}`],
    ['nr_nodes', `${i.nodes}`],
    ['cores_per_socket', `${i.coresPerSocket}`],
    ['threads_per_core', `${i.threadsPerCore}`],
    ['cpu_mhz', `${Math.floor(i.cpuKhz / 1000)}.${khz}`],
    ['hw_caps', i.hwCaps.map((w) => w.toString(16).padStart(8, '0')).join(':')],
    ['virt_caps', i.virtCaps.join(' ')],
    ['total_memory', mib(i.totalPages)],
    ['free_memory', mib(i.freePages - i.outstandingPages)],
    ['sharing_freed_memory', '0'],
    ['sharing_used_memory', '0'],
    ['outstanding_claims', mib(i.outstandingPages)],
    ['free_cpus', `${i.freeCpus.length}`],
  ].concat([
    ['xen_major', `${v.major}`],
    ['xen_minor', `${v.minor}`],
    ['xen_extra', v.extra],
    ['xen_version', `${v.major}.${v.minor}${v.extra}`],
    ['xen_caps', v.capabilities],
    ['xen_scheduler', i.scheduler],
    ['xen_pagesize', `${v.pageSize}`],
    ['platform_params', `virt_start=${v.virtStart}`],
    ['xen_changeset', v.changeset],
    ['xen_commandline', v.commandLine],
    ['cc_compiler', v.compile.compiler],
    ['cc_compile_by', v.compile.by],
    ['cc_compile_domain', v.compile.domain],
    ['cc_compile_date', v.compile.date],
    ['build_id', ''],
    ['xend_config_format', '4'],
  ]) as [string, string][];
}

const pad = (value: string | number, width: number) => `${value}`.padStart(width);
const NAME_WIDTH = 23;
/** Xen's xl puts topology between what the machine and what the hypervisor is. */
const FIRST_OF_XEN = 'xen_major';

function numa(i: HostInfo): string[] {
  const lines = ['cpu_topology           :', 'cpu:    core    socket     node'];
  for (const [cpu, t] of i.topology.entries()) {
    lines.push(`${pad(cpu, 3)}:    ${pad(t.core, 4)}     ${pad(t.socket, 4)}     ${pad(t.node, 4)}`);
  }
  lines.push('device topology        :', 'device           node', 'No device topology data available');
  lines.push('numa_info              :', 'node:    memsize    memfree    distances');
  const { nodes, distances } = i.numa;
  for (const [n, { size, free }] of nodes.entries()) {
    const row = distances.slice(n * nodes.length, (n + 1) * nodes.length).join(',');
    lines.push(
      `${pad(n, 4)}:    ${pad(Math.floor(size / 2 ** 20), 6)}     ${pad(Math.floor(free / 2 ** 20), 6)}      ${row}`,
    );
  }
  return lines;
}

export const info: Command = {
  name: 'info',
  summary: 'Get information about Xen host',
  usage: '[-n] [<Name>]',
  options: [
    { short: 'n', long: 'numa', help: 'List host NUMA topology information' },
    { short: 'x', long: 'xenstore', help: 'List features of xenstored' },
  ],
  async run({ client, print }, { positionals: [wanted], has }) {
    const i = await (await client()).call('host.info', {});
    const all = rows(i);
    if (has('xenstore')) all.splice(-1, 0, ['xenstore_features', '0x00000000']);
    if (wanted !== undefined && !has('numa')) {
      for (const [name, value] of all) if (name.startsWith(wanted)) print(value);
      return EXIT.SUCCESS;
    }
    for (const [name, value] of all) {
      if (has('numa') && name === FIRST_OF_XEN) for (const line of numa(i)) print(line);
      // As printed by Xen's xl, where the first of several capabilities follows a space of its own.
      print(`${name.padEnd(NAME_WIDTH)}: ${value}`);
    }
    return EXIT.SUCCESS;
  },
};
