/** Network cards of a domain: attached, listed and detached (`xl network-attach`, `-detach`, `-list`). */
import { randomBytes } from 'node:crypto';
import type { Attachment, Networks, Plug } from '../../backends/net/networks.ts';
import { parseForward, UplinkError } from '../../backends/net/uplink/passt.ts';
import type { XenStore } from '../../xenstored/xenstored.ts';
import { ToolstackError } from '../error.ts';
import { backendPath, type DeviceId } from './device.ts';
import type { DriverDomains } from './driver-domains.ts';
import { SplitDevices } from './split-devices.ts';

/** What `vif = [ '…' ]` says (xl-network-configuration.5). */
export interface NicConfig {
  /** Default: a random one of Xen's, 00:16:3e:… */
  readonly mac?: string;
  /** Default: xenbr0. */
  readonly bridge?: string;
  /** `vif-bridge` (the default): on the bridge. `vif-nat`: a network of its own, with the host as the way out. */
  readonly script?: string;
  /** What an emulated card is to be; PV cards are all alike. */
  readonly model?: string;
  /** Shown in XenStore; there is no interface of that name. */
  readonly vifname?: string;
  readonly mtu?: number;
  readonly rate?: { readonly bytesPerInterval: number; readonly intervalUs: number };
  /** Name of the driver domain. Default: one of its own. */
  readonly backend?: string;
  readonly devid?: number;
  /** Ports of the host that lead into the guest, with vif-nat: `tcp:2222:22`. An addition of this project's. */
  readonly forwards?: readonly string[];
  /** A network whose addresses the bridge gives by DHCP: `192.168.7.0/24`. An addition of this project's. */
  readonly dhcp?: string;
  /** A pcap file that gets all frames. An addition of this project's. */
  readonly capture?: string;
}

/** What `xl network-list` prints. */
export interface NicStatus {
  readonly id: DeviceId;
  readonly mac: string;
  /** XenbusState of the front end. */
  readonly state: number;
  readonly eventChannel: number;
  readonly txRingRef: number;
  readonly rxRingRef: number;
  readonly backend: string;
}

const DEFAULT_BRIDGE = 'xenbr0';
const SCRIPTS: readonly string[] = ['vif-bridge', 'vif-nat'];
const MAX_DEVID = 1023;
const MTU = { min: 68, max: 65535 };
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

interface Nic {
  readonly id: DeviceId;
  /** With what it was given where its configuration had nothing: number and address. */
  readonly config: NicConfig;
}

export class Nics {
  readonly #drivers: DriverDomains;
  readonly #networks: Networks;
  readonly #all: SplitDevices<Nic>;

  constructor(store: XenStore, drivers: DriverDomains, networks: Networks) {
    this.#drivers = drivers;
    this.#networks = networks;
    this.#all = new SplitDevices('vif', store, drivers);
  }

  /**
   * Gives the domain a network card, running or not. Resolves when the back end is ready for it; nothing remains if it
   * throws (ToolstackError for what the user can mend).
   */
  async attach(domid: number, config: NicConfig): Promise<DeviceId> {
    check(config);
    const devid = config.devid ?? this.#freeDevid(domid);
    if (this.#all.has(domid, devid))
      throw new ToolstackError(`vif: domain ${domid} has a network card ${devid} already`);
    const mac = (config.mac ?? randomMac()).toLowerCase();
    // A guest that is the back end has networks of its own.
    const plug = this.#drivers.isForeign(config.backend) ? undefined : await this.#plug(config);
    const nic = await this.#all.attach({
      domid,
      devid,
      what: `vif ${devid}`,
      backend: config.backend,
      share: plug?.share,
      info: (id) => ({ id, config: { ...config, mac, devid } }),
      back: backNodes(config, devid, mac),
      front: frontNodes(config, devid, mac),
      release: plug && (() => plug.release()),
    });
    return nic.id;
  }

  /** Takes the card away that has this number or MAC address. See closeDevice for `force`. */
  async detach(domid: number, which: string, options: { readonly force?: boolean } = {}): Promise<void> {
    const nic = this.list(domid).find((n) => `${n.id.devid}` === which || n.mac === which.toLowerCase());
    if (!nic) throw new ToolstackError(`domain ${domid} has no network card ${which}`);
    await this.#all.detach(nic.id, options.force ?? false);
  }

  /** The domain is gone, or never ran: its cards close without being asked. */
  detachAll(domid: number): Promise<void> {
    return this.#all.detachAll(domid);
  }

  /** What its cards are, as they could be attached again. */
  configs(domid: number): NicConfig[] {
    return this.#all.infos().flatMap((n) => (n.id.domid === domid ? [n.config] : []));
  }

  list(domid: number): NicStatus[] {
    return this.#all.list(domid).map((id) => {
      const first = (...keys: string[]) => this.#all.frontNumber(id, ...keys);
      return {
        id,
        mac: this.#all.front(id, 'mac') ?? '',
        state: first('state'),
        eventChannel: first('event-channel', 'event-channel-tx', 'queue-0/event-channel-tx'),
        txRingRef: first('tx-ring-ref', 'queue-0/tx-ring-ref'),
        rxRingRef: first('rx-ring-ref', 'queue-0/rx-ring-ref'),
        backend: backendPath(id),
      };
    });
  }

  #freeDevid(domid: number): number {
    const used = new Set(this.#all.list(domid).map((d) => d.devid));
    let devid = 0;
    while (used.has(devid)) devid++;
    return devid;
  }

  async #plug(config: NicConfig): Promise<Plug> {
    const to: Attachment =
      config.script === 'vif-nat'
        ? { nat: { forwards: (config.forwards ?? []).map(parseForward) } }
        : { bridge: config.bridge ?? DEFAULT_BRIDGE, dhcp: config.dhcp };
    try {
      return await this.#networks.plug(to);
    } catch (error) {
      if (error instanceof UplinkError) throw new ToolstackError(`vif: ${error.message}`);
      throw error;
    }
  }
}

/** The first three bytes are Xen's; the fourth is below 0x80, as libxl makes them. */
function randomMac(): string {
  const [a, b, c] = randomBytes(3);
  return [0x00, 0x16, 0x3e, a & 0x7f, b, c].map((n) => n.toString(16).padStart(2, '0')).join(':');
}

function check(c: NicConfig): void {
  const wrong = (message: string): never => {
    throw new ToolstackError(`vif: ${message}`);
  };
  if (c.mac !== undefined && (!MAC.test(c.mac) || Number.parseInt(c.mac.slice(0, 2), 16) & 1)) {
    wrong(`mac=${c.mac}: it must be a unicast address like 00:16:3e:01:02:03`);
  }
  if (c.bridge !== undefined && !/^[A-Za-z0-9._-]{1,15}$/.test(c.bridge))
    wrong(`bridge=${c.bridge}: no name of a bridge`);
  if (c.script !== undefined && !SCRIPTS.includes(c.script))
    wrong(`script=${c.script}: there are ${SCRIPTS.join(' and ')}`);
  if (c.mtu !== undefined && !(Number.isInteger(c.mtu) && c.mtu >= MTU.min && c.mtu <= MTU.max)) {
    wrong(`mtu=${c.mtu}: it must be from ${MTU.min} to ${MTU.max}`);
  }
  if (c.devid !== undefined && !(Number.isInteger(c.devid) && c.devid >= 0 && c.devid <= MAX_DEVID)) {
    wrong(`devid=${c.devid}: it must be from 0 to ${MAX_DEVID}`);
  }
  if (c.rate && !(c.rate.bytesPerInterval > 0 && c.rate.intervalUs > 0)) wrong('rate=: it must be more than nothing');
  if (c.dhcp !== undefined && c.script === 'vif-nat') wrong('dhcp= is for bridges: vif-nat has DHCP of its own');
  if (c.forwards?.length && c.script !== 'vif-nat') wrong('forward= needs script=vif-nat');
}

function backNodes(c: NicConfig, devid: number, mac: string): Record<string, string> {
  const script = c.script ?? 'vif-bridge';
  return {
    script: `/etc/xen/scripts/${script}`,
    ...(c.rate ? { rate: `${c.rate.bytesPerInterval},${c.rate.intervalUs}` } : {}),
    ...(c.mtu === undefined ? {} : { mtu: `${c.mtu}` }),
    ...(c.vifname === undefined ? {} : { vifname: c.vifname }),
    ...(c.capture === undefined ? {} : { capture: c.capture }),
    bridge: script === 'vif-bridge' ? (c.bridge ?? DEFAULT_BRIDGE) : '',
    handle: `${devid}`,
    mac,
    type: 'vif',
  };
}

const frontNodes = (c: NicConfig, devid: number, mac: string): Record<string, string> => ({
  handle: `${devid}`,
  mac,
  ...(c.mtu === undefined ? {} : { mtu: `${c.mtu}` }),
});
