/**
 * `xl driver-create`, `-destroy` and `-list`: driver domains for `backend=`. Not commands of Xen's, where a driver domain is a
 * guest that runs `xl devd`.
 */
import { type Command, EXIT } from '../command.ts';

const create: Command = {
  name: 'driver-create',
  summary: 'Create a driver domain for devices with backend=<Name>',
  usage: '<Name>',
  modifies: true,
  atLeast: 1,
  async run({ client }, { positionals: [name] }) {
    await (await client()).call('driver.create', { name });
    return EXIT.SUCCESS;
  },
};

const destroy: Command = {
  name: 'driver-destroy',
  summary: 'Destroy a driver domain that no device uses',
  usage: '<Name>',
  modifies: true,
  atLeast: 1,
  async run({ client }, { positionals: [name] }) {
    await (await client()).call('driver.destroy', { name });
    return EXIT.SUCCESS;
  },
};

const list: Command = {
  name: 'driver-list',
  summary: 'List driver domains and their devices',
  usage: '',
  async run({ client, print }) {
    const drivers = await (await client()).call('driver.list', {});
    print(`${'Name'.padEnd(24)} ${'ID'.padStart(5)} ${'Restarts'.padStart(8)} State  Devices`);
    for (const d of drivers) {
      const state = (d.lost === undefined ? 'ok' : 'failed').padEnd(6);
      print(
        `${d.name.padEnd(24)} ${`${d.domid}`.padStart(5)} ${`${d.restarts}`.padStart(8)} ${state} ${d.devices.join(' ')}`.trimEnd(),
      );
      if (d.lost !== undefined) print(`    ${d.lost}`);
    }
    return EXIT.SUCCESS;
  },
};

export const driverCommands: readonly Command[] = [create, destroy, list];
