/**
 * Threads for driver domains. Loading modules is most of what one needs to start, so that a spare one is kept which has
 * done so: a back end that was killed is back sooner. There is none before the first driver domain.
 */
import { Worker } from 'node:worker_threads';

export class DriverThreads {
  #spare: Worker | undefined;
  #closed = false;

  /** A thread that waits for its WorkerStart. */
  take(): Worker {
    const worker = this.#spare ?? create();
    this.#spare = undefined;
    worker.removeAllListeners();
    worker.ref();
    return worker;
  }

  /** Sees to a spare one. To be called when the last that was taken needs the processor no more than others. */
  prepare(): void {
    if (this.#closed || this.#spare) return;
    const worker = create();
    this.#spare = worker;
    // It keeps nobody up, and one that fails is found out when it is needed: its domain starts another.
    worker.unref();
    const gone = () => {
      if (this.#spare === worker) this.#spare = undefined;
    };
    worker.once('error', gone);
    worker.once('exit', gone);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const spare = this.#spare;
    this.#spare = undefined;
    await spare?.terminate();
  }
}

function create(): Worker {
  return new Worker(new URL(`./worker${import.meta.url.slice(-3)}`, import.meta.url));
}
