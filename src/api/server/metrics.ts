/** Figures for Prometheus (text format 0.0.4). */
import type { Host } from '../../dom0/host.ts';

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  /** Labels and value of each sample. */
  readonly samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

/** Figures of devices, from the guest's side: which counters they are made of, and the label that tells those apart. */
const DEVICES: readonly {
  readonly name: string;
  readonly help: string;
  readonly kind: 'vbds' | 'vifs';
  readonly counters: Readonly<Record<string, Readonly<Record<string, string>>>>;
}[] = [
  {
    name: 'xenolith_vif_bytes_total',
    help: 'Bytes that a network card sent and received.',
    kind: 'vifs',
    counters: { tx_bytes: { direction: 'tx' }, rx_bytes: { direction: 'rx' } },
  },
  {
    name: 'xenolith_vif_packets_total',
    help: 'Packets that a network card sent and received.',
    kind: 'vifs',
    counters: { tx_packets: { direction: 'tx' }, rx_packets: { direction: 'rx' } },
  },
  {
    name: 'xenolith_vbd_requests_total',
    help: 'Requests to a disk.',
    kind: 'vbds',
    counters: { rd_req: { op: 'read' }, wr_req: { op: 'write' }, f_req: { op: 'flush' }, ds_req: { op: 'discard' } },
  },
  {
    name: 'xenolith_vbd_sectors_total',
    help: 'Sectors of 512 bytes read from and written to a disk.',
    kind: 'vbds',
    counters: { rd_sect: { op: 'read' }, wr_sect: { op: 'write' } },
  },
];

const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

function sample(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`;
}

export function metrics(host: Host): string {
  const { toolstack } = host;
  const phys = host.xen.sysctl.physInfo();
  const domains = toolstack.domainInfos();
  const devices = domains.map((d) => host.devices.counters(d.domid));
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
    ...DEVICES.map(({ name, help, kind, counters }): Metric => {
      const samples = domains.flatMap((d, i) =>
        devices[i][kind].flatMap((device) => {
          const labels = {
            domid: `${d.domid}`,
            name: d.name,
            device: 'vdev' in device ? device.vdev : `${device.devid}`,
          };
          const values = device.counters as Readonly<Record<string, number>> | null;
          return values
            ? Object.entries(counters).map(([counter, more]) => [{ ...labels, ...more }, values[counter]] as const)
            : [];
        }),
      );
      return { name, type: 'counter', help, samples };
    }),
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
