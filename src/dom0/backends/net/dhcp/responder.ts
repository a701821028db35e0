/**
 * A DHCP server at a port of a bridge, on the control domain's thread: it gets what goes to all ports, and takes its time, so
 * that a guest which floods the bridge does not hold up anything else. What it has no time for is lost, as on any network.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bridge } from '../bridge/bridge.ts';
import { PLAIN } from '../bridge/queue.ts';
import { DhcpServer, type Network } from './server.ts';

/** Frames looked at, and the pause after that many, in ms. */
const BURST = 32;
const PAUSE_MS = 10;

export class DhcpResponder {
  readonly network: Network;
  readonly #bridge: Bridge;
  readonly #port: number;
  readonly #server: DhcpServer;
  #stopped = false;

  /** Undefined if the bridge has no free port. */
  static start(bridge: Bridge, network: Network): DhcpResponder | undefined {
    const port = bridge.attach();
    return port < 0 ? undefined : new DhcpResponder(bridge, port, network);
  }

  private constructor(bridge: Bridge, port: number, network: Network) {
    this.#bridge = bridge;
    this.#port = port;
    this.network = network;
    this.#server = new DhcpServer(network);
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    const { words, index } = this.#bridge.doorbell(this.#port);
    Atomics.add(words, index, 1);
    Atomics.notify(words, index);
    this.#bridge.detach(this.#port);
  }

  async #run(): Promise<void> {
    const { words, index } = this.#bridge.doorbell(this.#port);
    while (!this.#stopped) {
      const rung = Atomics.load(words, index);
      if (this.#drain()) await sleep(PAUSE_MS, undefined, { ref: false });
      else {
        const wait = Atomics.waitAsync(words, index, rung);
        if (wait.async) await wait.value;
      }
    }
  }

  /** Whether there may be more. */
  #drain(): boolean {
    const queue = this.#bridge.queue(this.#port);
    for (let n = 0; n < BURST; n++) {
      const next = queue.peek();
      if (!next) return false;
      const answer = this.#server.handle(next.frame);
      queue.pop();
      if (answer) this.#bridge.forward(this.#port, answer, PLAIN);
    }
    return true;
  }
}
