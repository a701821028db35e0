/** `xl network-attach`, `-detach` and `-list`. */
import { resolve } from 'node:path';
import { parseVif } from '../../dom0/toolstack/xlcfg/vif.ts';
import { type Command, CommandError, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';

const attach: Command = {
  name: 'network-attach',
  summary: 'Create a new virtual network device',
  usage:
    '<Domain> [type=<type>] [mac=<mac>] [bridge=<bridge>] [script=<script>] [backend=<BackDomain>] [rate=<rate>] [model=<model>]',
  notes: 'As in vif=[…], with forward=tcp:HOSTPORT:GUESTPORT (script=vif-nat) and capture=FILE besides.',
  modifies: true,
  atLeast: 1,
  async run({ client, cwd, print, dryRun }, { positionals: [word, ...words] }) {
    const vif = parseVif(words.join(','));
    const nic = vif.capture === undefined ? vif : { ...vif, capture: resolve(cwd, vif.capture) };
    if (dryRun) {
      print(`vif: ${JSON.stringify(nic)}`);
      return EXIT.SUCCESS;
    }
    const c = await client();
    const { domid } = await findDomain(c, word);
    await c.call('network.attach', { domain: domid, nic });
    return EXIT.SUCCESS;
  },
};

const detach: Command = {
  name: 'network-detach',
  summary: "Destroy a domain's virtual network device",
  usage: '<Domain> <DevId|mac>',
  modifies: true,
  options: [{ long: 'force', help: 'take it away even if the guest does not let go of it' }],
  atLeast: 2,
  async run({ client }, { positionals: [word, card], has }) {
    const c = await client();
    const { domid } = await findDomain(c, word);
    await c.call('network.detach', { domain: domid, card, force: has('force') });
    return EXIT.SUCCESS;
  },
};

const list: Command = {
  name: 'network-list',
  summary: 'List virtual network interfaces for a domain',
  usage: '<Domain(s)>',
  atLeast: 1,
  async run({ client, print, say }, { positionals }) {
    const c = await client();
    print('Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path');
    let status: number = EXIT.SUCCESS;
    for (const word of positionals) {
      try {
        const { domid } = await findDomain(c, word);
        for (const n of await c.call('network.list', { domain: domid })) {
          const left = `${`${n.devid}`.padEnd(3)} ${`${n.backendDomid}`.padEnd(2)} ${n.mac}`;
          const numbers = [n.devid, n.state, n.eventChannel].map((v, i) => `${v}`.padStart(i === 1 ? 5 : 6)).join(' ');
          print(
            `${left} ${numbers} ${`${n.txRingRef}`.padStart(5)}/${`${n.rxRingRef}`.padEnd(11)} ${n.backend.padEnd(30)}`,
          );
        }
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        say(error.message);
        status = EXIT.FAILURE;
      }
    }
    return status;
  },
};

export const networkCommands: readonly Command[] = [attach, list, detach];
