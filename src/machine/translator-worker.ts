/** The machine's workshop: makes translations for all pCPUs, each of which has a port here. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { allEncodings } from '../engine/semantics/index.ts';
import { type Delivery, Maker, type Order, viewOf } from '../engine/translator/maker.ts';

export interface WorkshopData {
  readonly memory: WebAssembly.Memory;
  readonly ports: readonly MessagePort[];
  /** Of each port: how many deliveries have been posted, so that a pCPU sees without a call whether there is one. */
  readonly posted: Int32Array;
}

const { memory, ports, posted } = workerData as WorkshopData;
const maker = new Maker(allEncodings());

function make(o: Order): Delivery {
  const start = performance.now();
  const made = maker.make(viewOf(memory, o), o.hot);
  const module = made && new WebAssembly.Module(made.wasm);
  return { id: o.id, made: made && { ...made, module: module! }, ms: performance.now() - start };
}

for (const [i, port] of ports.entries()) {
  port.on('message', (o: Order) => {
    port.postMessage(make(o));
    Atomics.add(posted, i, 1);
  });
}
