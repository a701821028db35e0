import { deviceList } from '../devices.ts';

const WIDTHS = [3, 2, 5, 6, 8, 10, 30];
const line = (cells: readonly (string | number)[]) => cells.map((c, i) => `${c}`.padEnd(WIDTHS[i])).join(' ');

/** Consoles besides the first. Their back ends are all in the control domain. */
export const channelList = deviceList({
  name: 'channel-list',
  summary: 'List virtual channel devices for a domain',
  head: line(['Idx', 'BE', 'state', 'evt-ch', 'ring-ref', 'connection', '']),
  entries: async (client, domid) => (await client.call('console.list', { domain: domid })).slice(1),
  row: (c) => {
    const cells = [c.number, 0, c.state, c.eventChannel, c.ringRef, c.connection];
    // Behind it is the path of a pty; of a socket Xen shows none.
    return c.connection === 'pty' ? line([...cells, c.tty ?? '']) : `${line(cells)} `;
  },
});
