/** The host's networks: bridges by name, made when the first vif names them, and for vifs with script=vif-nat one each. */
import { Bridge, createBridgeMemory } from './bridge/bridge.ts';
import { DhcpResponder } from './dhcp/responder.ts';
import { parseNetwork } from './dhcp/server.ts';
import type { VifShare } from './net.ts';
import { type PasstOptions, UplinkError } from './uplink/passt.ts';
import { Uplink } from './uplink/uplink.ts';

/** Where a vif is plugged in: a bridge, or a network of its own with passt as the way out. */
export type Attachment =
  /** `dhcp`: the network that the bridge gives addresses of (`192.168.7.0/24`), from then on and to all of its vifs. */
  { readonly bridge: string; readonly dhcp?: string } | { readonly nat: PasstOptions };

export interface Plug {
  readonly share: VifShare;
  /** The vif's thread has ended: its port is free, and its own network goes away. */
  release(): Promise<void>;
}

export class Networks {
  readonly #machine: SharedArrayBuffer;
  readonly #warn: (message: string) => void;
  readonly #bridges = new Map<string, Bridge>();
  readonly #dhcp = new Map<string, DhcpResponder>();
  readonly #uplinks = new Set<Uplink>();

  /** `machine`: machine memory. */
  constructor(machine: SharedArrayBuffer, warn: (message: string) => void) {
    this.#machine = machine;
    this.#warn = warn;
  }

  /** Throws UplinkError if there is no port left, or no passt. */
  async plug(to: Attachment): Promise<Plug> {
    return 'bridge' in to ? this.#plugBridge(to.bridge, to.dhcp) : await this.#plugNat(to.nat);
  }

  /** The threads of all vifs have ended. */
  async close(): Promise<void> {
    await Promise.all([...this.#uplinks].map((u) => u.stop()));
    this.#uplinks.clear();
    for (const responder of this.#dhcp.values()) responder.stop();
    this.#dhcp.clear();
    this.#bridges.clear();
  }

  #plugBridge(name: string, dhcp: string | undefined): Plug {
    let bridge = this.#bridges.get(name);
    if (!bridge) {
      bridge = this.#create();
      this.#bridges.set(name, bridge);
    }
    if (dhcp !== undefined) this.#giveAddresses(name, bridge, dhcp);
    const port = bridge.attach();
    if (port < 0) throw new UplinkError(`bridge ${name} has no free port`);
    return { share: { bridge: bridge.memory, port }, release: async () => bridge.detach(port) };
  }

  #giveAddresses(name: string, bridge: Bridge, text: string): void {
    const network = parseNetwork(text);
    if (!network) throw new UplinkError(`dhcp=${text}: it must be a network like 192.168.7.0/24, with 20 to 30 bits`);
    const old = this.#dhcp.get(name)?.network;
    if (old) {
      if (old.address === network.address && old.prefix === network.prefix) return;
      throw new UplinkError(`dhcp=${text}: bridge ${name} gives addresses of another network already`);
    }
    const responder = DhcpResponder.start(bridge, network);
    if (!responder) throw new UplinkError(`bridge ${name} has no free port`);
    this.#dhcp.set(name, responder);
  }

  async #plugNat(passt: PasstOptions): Promise<Plug> {
    const bridge = this.#create();
    const port = bridge.attach();
    const uplink = await Uplink.start(bridge, this.#machine, passt, this.#warn);
    this.#uplinks.add(uplink);
    return {
      share: { bridge: bridge.memory, port },
      release: async () => {
        this.#uplinks.delete(uplink);
        await uplink.stop();
      },
    };
  }

  #create(): Bridge {
    return new Bridge(createBridgeMemory(), new Int32Array(this.#machine));
  }
}
