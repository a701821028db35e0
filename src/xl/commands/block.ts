/** Commands about the disks of a domain: `xl block-*`, `cd-insert`, `cd-eject`. */
import { resolve } from 'node:path';
import { parseDisk } from '../../dom0/toolstack/xlcfg/disk.ts';
import { type Command, EXIT } from '../command.ts';
import { deviceDetach, deviceList } from '../devices.ts';
import { findDomain } from '../domain.ts';

const column = (values: readonly (string | number)[], widths: readonly number[]) =>
  values.map((v, i) => `${v}`.padEnd(widths[i] ?? 0)).join(' ');
const WIDTHS = [5, 3, 6, 5, 6, 8, 30];

const list = deviceList({
  name: 'block-list',
  summary: 'List virtual block devices for a domain',
  head: column(['Vdev', 'BE', 'handle', 'state', 'evt-ch', 'ring-ref', 'BE-path'], WIDTHS),
  entries: (client, domid) => client.call('disk.list', { domain: domid }),
  row: (d, domid) => column([d.devid, d.backendDomid, domid, d.state, d.eventChannel, d.ringRef, d.backend], WIDTHS),
});

const attach: Command = {
  name: 'block-attach',
  summary: 'Create a new virtual block device',
  usage: '<Domain> <disk-spec-component(s)>...',
  canDryRun: true,
  modifies: true,
  atLeast: 2,
  async run({ client, print, cwd, dryRun }, { positionals: [word, ...components] }) {
    const parsed = parseDisk(components.join(','));
    const disk = { ...parsed, target: parsed.target && resolve(cwd, parsed.target) };
    if (dryRun) {
      print(`disk: ${JSON.stringify(disk, null, 4)}`);
      return EXIT.SUCCESS;
    }
    const c = await client();
    const { domid } = await findDomain(c, word);
    await c.call('disk.attach', { domain: domid, disk: disk as never });
    return EXIT.SUCCESS;
  },
};

const detach = deviceDetach({
  name: 'block-detach',
  summary: "Destroy a domain's virtual block device",
  usage: '[option] <Domain> <DevId>',
  detach: (client, domain, vdev, force) => client.call('disk.detach', { domain, vdev, force }),
});

const insert: Command = {
  name: 'cd-insert',
  summary: "Insert a cdrom into a guest's cd drive",
  usage: '<Domain> <VirtualDevice> <path>',
  modifies: true,
  atLeast: 3,
  async run({ client, cwd }, { positionals: [word, vdev, path] }) {
    const c = await client();
    const { domid } = await findDomain(c, word);
    await c.call('disk.insert', { domain: domid, vdev, target: resolve(cwd, path) });
    return EXIT.SUCCESS;
  },
};

const eject: Command = {
  name: 'cd-eject',
  summary: "Eject a cdrom from a guest's cd drive",
  usage: '<Domain> <VirtualDevice>',
  modifies: true,
  atLeast: 2,
  async run({ client }, { positionals: [word, vdev] }) {
    const c = await client();
    const { domid } = await findDomain(c, word);
    await c.call('disk.eject', { domain: domid, vdev });
    return EXIT.SUCCESS;
  },
};

export const blockCommands: readonly Command[] = [attach, list, detach, insert, eject];
