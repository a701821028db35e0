/**
 * XenStore for a domain that has a ring to it: the other end of xenstored/ring.ts. Calls are synchronous: the thread sleeps
 * until the answer is there. Watches call back from `poll`, never from within another call.
 *
 * Names are relative to the domain's home unless they begin with `/`.
 */
import {
  XENSTORE_PAYLOAD_MAX,
  XENSTORE_RING_SIZE,
  XenstoreDomainInterface,
  XS,
  XsdSockmsg,
} from '../../abi/xs_wire.ts';

const { off } = XenstoreDomainInterface;
const MASK = XENSTORE_RING_SIZE - 1;
const HEADER = XsdSockmsg.size;
/** An answer that takes longer than this will not come. */
const ANSWER_MS = 30_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What xenstored answered: the name of an error number. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: string;
  constructor(code: string, what: string) {
    super(`${what}: ${code}`);
    this.code = code;
  }
}

export interface StoreChannel {
  readonly memory: SharedArrayBuffer;
  /** Machine address of the ring page. */
  readonly address: number;
  /** Signals xenstored. */
  readonly notify: () => void;
  /** From now on an event of xenstored's changes `wakeCount`. */
  readonly expect: () => void;
  /** A sleep until `wakeCount` is no longer `seen`. */
  readonly wakeCount: () => number;
  readonly sleep: (seen: number, ms: number) => void;
}

export interface StoreWatch {
  close(): void;
}

interface Message {
  readonly type: number;
  readonly id: number;
  readonly payload: Uint8Array;
}

export class XsClient {
  readonly #channel: StoreChannel;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #callbacks = new Map<string, (path: string) => void>();
  #in = new Uint8Array(0);
  #events: Message[] = [];
  #lastId = 0;
  #lastToken = 0;

  constructor(channel: StoreChannel) {
    this.#channel = channel;
    this.#bytes = new Uint8Array(channel.memory, channel.address, 2 * XENSTORE_RING_SIZE);
    this.#words = new Int32Array(channel.memory, channel.address, XenstoreDomainInterface.size >>> 2);
  }

  read(path: string, tx = 0): string {
    return decoder.decode(this.#call(XS.READ, `read ${path}`, strings(path), tx));
  }

  /** As `read`, but undefined where there is no such node (or none that may be read). */
  tryRead(path: string, tx = 0): string | undefined {
    return this.#orNone(() => this.read(path, tx));
  }

  write(path: string, value: string, tx = 0): void {
    const data = encoder.encode(value);
    const name = strings(path);
    const payload = new Uint8Array(name.length + data.length);
    payload.set(name);
    payload.set(data, name.length);
    this.#call(XS.WRITE, `write ${path}`, payload, tx);
  }

  /** Removes the node and all below it. No error if it is not there. */
  rm(path: string, tx = 0): void {
    this.#orNone(() => this.#call(XS.RM, `rm ${path}`, strings(path), tx));
  }

  /** Names of the children; none if there is no such node. */
  directory(path: string): string[] {
    const names = this.#orNone(() => this.#call(XS.DIRECTORY, `directory ${path}`, strings(path), 0));
    return names ? split(names) : [];
  }

  /** Writes all of it or nothing, again if it met a conflict. */
  transaction(body: (tx: number) => void): void {
    for (;;) {
      const tx = Number(split(this.#call(XS.TRANSACTION_START, 'transaction', strings(''), 0))[0]);
      try {
        body(tx);
      } catch (e) {
        this.#call(XS.TRANSACTION_END, 'transaction', strings('F'), tx);
        throw e;
      }
      try {
        this.#call(XS.TRANSACTION_END, 'transaction', strings('T'), tx);
        return;
      } catch (e) {
        if (!(e instanceof StoreError) || e.code !== 'EAGAIN') throw e;
      }
    }
  }

  /** Calls `changed` with the path of each change at or below `path`, and once at the start. */
  watch(path: string, changed: (path: string) => void): StoreWatch {
    const token = `${this.#lastToken++}`;
    this.#callbacks.set(token, changed);
    this.#call(XS.WATCH, `watch ${path}`, strings(path, token), 0);
    return {
      close: () => {
        if (!this.#callbacks.delete(token)) return;
        this.#orNone(() => this.#call(XS.UNWATCH, `unwatch ${path}`, strings(path, token), 0));
      },
    };
  }

  /** Calls back for what watches have seen. Returns whether there was anything. */
  poll(): boolean {
    this.#receive();
    let any = false;
    for (let event = this.#events.shift(); event; event = this.#events.shift()) {
      const [path, token] = split(event.payload);
      this.#callbacks.get(token)?.(path);
      any = true;
    }
    return any;
  }

  /** It answers to xenstored, and to no guest. */
  readonly served = 0;

  /** Every byte that xenstored sends makes an event: there is nothing to arm. */
  arm(): boolean {
    this.#receive();
    return this.#events.length > 0;
  }

  #orNone<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (e) {
      if (e instanceof StoreError && (e.code === 'ENOENT' || e.code === 'EACCES')) return undefined;
      throw e;
    }
  }

  #call(type: number, what: string, payload: Uint8Array, tx: number): Uint8Array {
    if (payload.length > XENSTORE_PAYLOAD_MAX) throw new StoreError('E2BIG', what);
    const id = ++this.#lastId;
    const message = new Uint8Array(HEADER + payload.length);
    const view = new DataView(message.buffer);
    view.setUint32(XsdSockmsg.off.type, type, true);
    view.setUint32(XsdSockmsg.off.req_id, id, true);
    view.setUint32(XsdSockmsg.off.tx_id, tx, true);
    view.setUint32(XsdSockmsg.off.len, payload.length, true);
    message.set(payload, HEADER);
    for (let sent = 0; sent < message.length; ) {
      this.#channel.expect();
      const seen = this.#channel.wakeCount();
      const n = this.#send(message.subarray(sent));
      if (n > 0) this.#channel.notify();
      else this.#channel.sleep(seen, ANSWER_MS);
      sent += n;
    }
    const answer = this.#answer(id, what);
    if (answer.type !== XS.ERROR) return answer.payload;
    throw new StoreError(split(answer.payload)[0] ?? 'EIO', what);
  }

  #answer(id: number, what: string): Message {
    const deadline = performance.now() + ANSWER_MS;
    for (;;) {
      this.#channel.expect();
      const seen = this.#channel.wakeCount();
      const answer = this.#receive(id);
      if (answer) return answer;
      if (performance.now() > deadline) throw new StoreError('EIO', `${what}: no answer`);
      this.#channel.sleep(seen, 1000);
    }
  }

  /** Takes what has come: events are kept for `poll`, the answer to request `id` is returned. */
  #receive(id = 0): Message | undefined {
    while (this.#take());
    let answer: Message | undefined;
    for (let m = this.#message(); m; m = this.#message()) {
      if (m.type === XS.WATCH_EVENT) this.#events.push(m);
      else if (m.id === id) answer = m;
    }
    return answer;
  }

  /** The first complete message of what was taken. */
  #message(): Message | undefined {
    if (this.#in.length < HEADER) return undefined;
    const view = new DataView(this.#in.buffer, this.#in.byteOffset);
    const length = view.getUint32(XsdSockmsg.off.len, true);
    if (length > XENSTORE_PAYLOAD_MAX) throw new StoreError('EIO', 'xenstored broke the protocol');
    if (this.#in.length < HEADER + length) return undefined;
    const message = {
      type: view.getUint32(XsdSockmsg.off.type, true),
      id: view.getUint32(XsdSockmsg.off.req_id, true),
      payload: this.#in.slice(HEADER, HEADER + length),
    };
    this.#in = this.#in.slice(HEADER + length);
    return message;
  }

  #take(): boolean {
    const cons = this.#load(off.rsp_cons);
    const filled = (this.#load(off.rsp_prod) - cons) >>> 0;
    if (filled === 0) return false;
    if (filled > XENSTORE_RING_SIZE) throw new StoreError('EIO', 'xenstored broke its ring');
    const at = cons & MASK;
    const run = Math.min(filled, XENSTORE_RING_SIZE - at);
    const joined = new Uint8Array(this.#in.length + run);
    joined.set(this.#in);
    joined.set(this.#bytes.subarray(off.rsp + at, off.rsp + at + run), this.#in.length);
    this.#in = joined;
    this.#store(off.rsp_cons, cons + run);
    this.#channel.notify();
    return true;
  }

  #send(bytes: Uint8Array): number {
    const prod = this.#load(off.req_prod);
    const free = XENSTORE_RING_SIZE - ((prod - this.#load(off.req_cons)) >>> 0);
    const at = prod & MASK;
    const run = Math.min(free, XENSTORE_RING_SIZE - at, bytes.length);
    if (run <= 0) return 0;
    this.#bytes.set(bytes.subarray(0, run), off.req + at);
    this.#store(off.req_prod, prod + run);
    return run;
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, offset >>> 2);
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#words, offset >>> 2, value | 0);
  }
}

const strings = (...parts: string[]): Uint8Array => encoder.encode(parts.map((p) => `${p}\0`).join(''));

function split(payload: Uint8Array): string[] {
  const text = decoder.decode(payload);
  return text === '' ? [] : text.replace(/\0$/, '').split('\0');
}
