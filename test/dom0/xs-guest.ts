/** A guest's half of the XenStore wire protocol, for tests: over a ring page, or straight into a Connection. */
import { XENSTORE_RING_SIZE, XenstoreDomainInterface, XS, XsdSockmsg } from '../../src/abi/xs_wire.ts';
import type { Connection } from '../../src/dom0/xenstored/connection.ts';
import { fromBytes, toBytes } from '../../src/dom0/xenstored/strings.ts';
import type { XenStore } from '../../src/dom0/xenstored/xenstored.ts';

export interface Reply {
  type: number;
  reqId: number;
  txId: number;
  payload: string;
}

export function message(type: number, payload: string, txId = 0, reqId = 1): Uint8Array {
  const bytes = new Uint8Array(XsdSockmsg.size + payload.length);
  const view = new DataView(bytes.buffer);
  [type, reqId, txId, payload.length].forEach((word, i) => {
    view.setUint32(4 * i, word, true);
  });
  bytes.set(toBytes(payload), XsdSockmsg.size);
  return bytes;
}

/** Cuts a byte stream into messages. */
export class Parser {
  #bytes = new Uint8Array(0);

  push(bytes: Uint8Array): void {
    const all = new Uint8Array(this.#bytes.length + bytes.length);
    all.set(this.#bytes);
    all.set(bytes, this.#bytes.length);
    this.#bytes = all;
  }

  *messages(): Generator<Reply> {
    for (;;) {
      if (this.#bytes.length < XsdSockmsg.size) return;
      const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset);
      const [type, reqId, txId, len] = [0, 4, 8, 12].map((at) => view.getUint32(at, true));
      if (this.#bytes.length < XsdSockmsg.size + len) return;
      const payload = fromBytes(this.#bytes.subarray(XsdSockmsg.size, XsdSockmsg.size + len));
      this.#bytes = this.#bytes.slice(XsdSockmsg.size + len);
      yield { type, reqId, txId, payload };
    }
  }
}

/** Requests and answers on a Connection, without a ring. */
export class Client {
  readonly connection: Connection;
  readonly events: string[] = [];
  readonly #parser = new Parser();
  #reqId = 0;

  constructor(store: XenStore, domid: number, relative = domid !== 0) {
    this.connection = store.connect(domid, { relative, onOutput: () => {} });
  }

  /** The reply's payload, or the error's name. */
  ask(type: number, payload: string, txId = 0): string {
    this.#reqId += 1;
    let bytes = message(type, payload, txId, this.#reqId);
    while (bytes.length > 0) {
      const used = this.connection.feed(bytes);
      if (used === 0) throw new Error('connection takes nothing');
      bytes = bytes.subarray(used);
    }
    let answer: string | undefined;
    for (const reply of this.drain()) {
      if (reply.reqId !== this.#reqId || reply.txId !== txId) throw new Error('wrong ids in reply');
      if (reply.type !== type && reply.type !== XS.ERROR) throw new Error(`reply of type ${reply.type} to ${type}`);
      answer = reply.type === XS.ERROR ? reply.payload.slice(0, -1) : reply.payload;
    }
    if (answer === undefined) throw new Error('no reply');
    return answer;
  }

  /** Replies that wait; events go to `events`. */
  drain(): Reply[] {
    this.#parser.push(this.connection.take(1 << 20));
    const replies: Reply[] = [];
    for (const reply of this.#parser.messages()) {
      if (reply.type === XS.WATCH_EVENT) this.events.push(reply.payload.split('\0').slice(0, 2).join(' '));
      else replies.push(reply);
    }
    return replies;
  }

  takeEvents(): string[] {
    this.drain();
    return this.events.splice(0);
  }
}

/** A guest with a ring page of its own at a machine address. */
export class RingGuest {
  readonly memory = new SharedArrayBuffer(0x4000);
  readonly address = 0x2000;
  readonly words = new Int32Array(this.memory, this.address, XenstoreDomainInterface.size >>> 2);
  readonly bytes = new Uint8Array(this.memory, this.address, 2 * XENSTORE_RING_SIZE);
  readonly parser = new Parser();
  notified = 0;

  page() {
    const notify = () => {
      this.notified += 1;
    };
    return { memory: this.memory, address: this.address, notify };
  }

  get(field: keyof typeof XenstoreDomainInterface.off): number {
    return Atomics.load(this.words, XenstoreDomainInterface.off[field] >>> 2);
  }

  set(field: keyof typeof XenstoreDomainInterface.off, value: number): void {
    Atomics.store(this.words, XenstoreDomainInterface.off[field] >>> 2, value);
  }

  /** Bytes free in the request ring. */
  get room(): number {
    return XENSTORE_RING_SIZE - ((this.get('req_prod') - this.get('req_cons')) >>> 0);
  }

  /** Puts as much as fits into the request ring. */
  put(bytes: Uint8Array): number {
    const prod = this.get('req_prod');
    const count = Math.min(this.room, bytes.length);
    for (let i = 0; i < count; i++) this.bytes[((prod >>> 0) + i) & (XENSTORE_RING_SIZE - 1)] = bytes[i];
    this.set('req_prod', prod + count);
    return count;
  }

  /** Takes everything from the response ring. */
  take(): Reply[] {
    let cons = this.get('rsp_cons');
    const count = (this.get('rsp_prod') - cons) >>> 0;
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      out[i] = this.bytes[XENSTORE_RING_SIZE + ((cons >>> 0) & (XENSTORE_RING_SIZE - 1))];
      cons = (cons + 1) | 0;
    }
    this.set('rsp_cons', cons);
    this.parser.push(out);
    return [...this.parser.messages()];
  }
}
