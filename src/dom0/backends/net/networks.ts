/** The host's networks: bridges by name, made when the first vif names them, and for vifs with script=vif-nat one each. */
import { Bridge, createBridgeMemory } from './bridge/bridge.ts';
import type { VifShare } from './net.ts';
import { type PasstOptions, UplinkError } from './uplink/passt.ts';
import { Uplink } from './uplink/uplink.ts';

/** Where a vif is plugged in: a bridge, or a network of its own with passt as the way out. */
export type Attachment = { readonly bridge: string } | { readonly nat: PasstOptions };

export interface Plug {
  readonly share: VifShare;
  /** The vif's thread has ended: its port is free, and its own network goes away. */
  release(): Promise<void>;
}

export class Networks {
  readonly #machine: SharedArrayBuffer;
  readonly #warn: (message: string) => void;
  readonly #bridges = new Map<string, Bridge>();
  readonly #uplinks = new Set<Uplink>();

  /** `machine`: machine memory. */
  constructor(machine: SharedArrayBuffer, warn: (message: string) => void) {
    this.#machine = machine;
    this.#warn = warn;
  }

  /** Throws UplinkError if there is no port left, or no passt. */
  async plug(to: Attachment): Promise<Plug> {
    return 'bridge' in to ? this.#plugBridge(to.bridge) : await this.#plugNat(to.nat);
  }

  /** The threads of all vifs have ended. */
  async close(): Promise<void> {
    await Promise.all([...this.#uplinks].map((u) => u.stop()));
    this.#uplinks.clear();
    this.#bridges.clear();
  }

  #plugBridge(name: string): Plug {
    let bridge = this.#bridges.get(name);
    if (!bridge) {
      bridge = this.#create();
      this.#bridges.set(name, bridge);
    }
    const port = bridge.attach();
    if (port < 0) throw new UplinkError(`bridge ${name} has no free port`);
    return { share: { bridge: bridge.memory, port }, release: async () => bridge.detach(port) };
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
