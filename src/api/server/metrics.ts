/** Figures for Prometheus (text format 0.0.4). */
import type { Host } from '../../dom0/host.ts';

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  /** Labels and value of each sample. */
  readonly samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

function sample(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`;
}

export function metrics(host: Host): string {
  const { toolstack } = host;
  const phys = host.xen.sysctl.physInfo();
  const domains = toolstack.domainInfos();
  const each = (value: (d: (typeof domains)[number]) => number) =>
    domains.map((d) => [{ domid: `${d.domid}`, name: d.name }, value(d)] as const);
  const all: Metric[] = [
    {
      name: 'xenolith_domains',
      type: 'gauge',
      help: 'Domains, the control domain included.',
      samples: [[{}, domains.length]],
    },
    { name: 'xenolith_pcpus', type: 'gauge', help: 'Physical CPUs of the machine.', samples: [[{}, phys.cpus]] },
    {
      name: 'xenolith_memory_bytes',
      type: 'gauge',
      help: 'Memory of the machine.',
      samples: [
        [{ state: 'total' }, phys.totalPages * 4096],
        [{ state: 'free' }, phys.freePages * 4096],
      ],
    },
    {
      name: 'xenolith_domain_cpu_seconds_total',
      type: 'counter',
      help: 'CPU time used.',
      samples: each((d) => d.cpuTime),
    },
    {
      name: 'xenolith_domain_memory_bytes',
      type: 'gauge',
      help: 'Memory it has.',
      samples: each((d) => d.memoryKiB * 1024),
    },
    {
      name: 'xenolith_domain_vcpus_online',
      type: 'gauge',
      help: 'vCPUs on line.',
      samples: each((d) => d.vcpusOnline),
    },
    { name: 'xenolith_domain_paused', type: 'gauge', help: '1: paused.', samples: each((d) => Number(d.paused)) },
    {
      name: 'xenolith_events_total',
      type: 'counter',
      help: 'Events of the toolstack.',
      samples: [[{}, toolstack.bus.last]],
    },
  ];
  const lines = all.flatMap(({ name, type, help, samples }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([labels, value]) => sample(name, labels, value)),
  ]);
  return `${lines.join('\n')}\n`;
}
