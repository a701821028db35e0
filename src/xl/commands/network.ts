/** `xl network-attach`, `-detach` and `-list`. */
import { resolve } from 'node:path';
import { parseVif } from '../../dom0/toolstack/xlcfg/vif.ts';
import { type Command, EXIT } from '../command.ts';
import { deviceDetach, deviceList } from '../devices.ts';
import { findDomain } from '../domain.ts';

const attach: Command = {
  name: 'network-attach',
  summary: 'Create a new virtual network device',
  usage:
    '<Domain> [type=<type>] [mac=<mac>] [bridge=<bridge>] [script=<script>] [backend=<BackDomain>] [rate=<rate>] [model=<model>]',
  notes:
    'As in vif=[…], with forward=tcp:HOSTPORT:GUESTPORT (script=vif-nat), dhcp=NETWORK/BITS (of the bridge) and capture=FILE besides.',
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

const detach = deviceDetach({
  name: 'network-detach',
  summary: "Destroy a domain's virtual network device",
  usage: '[option] <Domain> <DevId|mac>',
  detach: (client, domain, card, force) => client.call('network.detach', { domain, card, force }),
});

const list = deviceList({
  name: 'network-list',
  summary: 'List virtual network interfaces for a domain',
  head: 'Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path',
  entries: (client, domid) => client.call('network.list', { domain: domid }),
  row: (n) => {
    const left = `${`${n.devid}`.padEnd(3)} ${`${n.backendDomid}`.padEnd(2)} ${n.mac}`;
    const numbers = [n.devid, n.state, n.eventChannel].map((v, i) => `${v}`.padStart(i === 1 ? 5 : 6)).join(' ');
    return `${left} ${numbers} ${`${n.txRingRef}`.padStart(5)}/${`${n.rxRingRef}`.padEnd(11)} ${n.backend.padEnd(30)}`;
  },
});

export const networkCommands: readonly Command[] = [attach, list, detach];
