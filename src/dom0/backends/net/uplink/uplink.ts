/** The control domain's side of an uplink: starts its thread (worker.ts) and stops it. */
import { Worker } from 'node:worker_threads';
import type { Bridge } from '../bridge/bridge.ts';
import { type PasstOptions, UplinkError } from './passt.ts';
import type { FromUplink, UplinkData } from './worker.ts';

export class Uplink {
  readonly #bridge: Bridge;
  readonly #port: number;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #stopping = false;

  private constructor(bridge: Bridge, port: number, worker: Worker) {
    this.#bridge = bridge;
    this.#port = port;
    this.#worker = worker;
    this.#ended = new Promise((resolve) => worker.once('exit', () => resolve()));
  }

  /**
   * Connects the bridge to the host's network. Throws UplinkError if passt cannot be started, with its reason. Later
   * failures go to `warn`; passt is started again then. `machine`: machine memory, where vifs have their doorbells.
   */
  static async start(
    bridge: Bridge,
    machine: SharedArrayBuffer | undefined,
    passt: PasstOptions,
    warn: (message: string) => void,
  ): Promise<Uplink> {
    const port = bridge.attach();
    if (port < 0) throw new UplinkError('the bridge has no free port');
    const data: UplinkData = { bridge: bridge.memory, port, machine, passt };
    const worker = new Worker(new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url), { workerData: data });
    const uplink = new Uplink(bridge, port, worker);
    let up = false;
    try {
      await new Promise<void>((resolve, reject) => {
        const failed = (why: string) => (up ? warn(`network: ${why}`) : reject(new UplinkError(why)));
        worker.on('message', (m: FromUplink) => {
          if (m.k === 'down') failed(m.why);
          else {
            up = true;
            resolve();
          }
        });
        worker.on('error', (error) => failed((error as Error).message));
        worker.on('exit', () => uplink.#stopping || failed('the uplink’s thread ended'));
      });
      return uplink;
    } catch (error) {
      await uplink.stop();
      throw error;
    }
  }

  /** Ends the thread, and with it passt. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      await this.#worker.terminate();
    }
    await this.#ended;
    this.#bridge.detach(this.#port);
  }
}
