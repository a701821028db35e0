/** A pCPU's end of the way to the workshop (translator-worker.ts). */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Delivery, Workshop } from '../engine/translator/maker.ts';

/** What a pCPU's thread is given of it. */
export interface WorkshopEnd {
  readonly port: MessagePort;
  readonly posted: Int32Array;
  readonly index: number;
}

/** Deliveries are taken out of the port, as the thread's event loop never gets to run while it is a pCPU. */
export function workshopAt({ port, posted, index }: WorkshopEnd): Workshop {
  let taken = 0;
  return {
    order: (o) => port.postMessage(o, [o.pages.buffer]),
    collect: () => {
      if (Atomics.load(posted, index) === taken) return undefined;
      taken++;
      return receiveMessageOnPort(port)?.message as Delivery | undefined;
    },
  };
}
