/**
 * A client that speaks the wire protocol, over whatever carries bytes: the transport calls `feed` with what arrived and
 * takes answers with `take`, when `onOutput` says that there are some. Requests are answered in order.
 *
 * The client is hostile: it may send messages in pieces or never finish one, and may never read. So at most one request is
 * buffered; `feed` takes nothing while too many answers wait; an event that already waits is not queued again, and none is
 * once the client is over its memory quota.
 */
import { XENSTORE_PAYLOAD_MAX, XS, XsdSockmsg } from '../../abi/xs_wire.ts';
import { XsError } from './errors.ts';
import { type DomainHooks, OPERATIONS } from './operations.ts';
import { Session } from './session.ts';
import type { Store } from './store.ts';
import { nulTerminated, toBytes } from './strings.ts';

const HEADER = XsdSockmsg.size;
const OK = toBytes('OK\0');

interface Message {
  readonly bytes: Uint8Array;
  /** Set for watch events only: `path\0token`. */
  readonly event?: string;
}

export interface ConnectionOptions {
  /** Domains may use names relative to their home; programs on a socket may not. */
  relative: boolean;
  hooks?: DomainHooks;
  /** There are bytes to take. */
  onOutput: () => void;
  /** The store has no more to do with this client: its domain is gone. */
  onClose?: () => void;
}

export class Connection {
  readonly #store: Store;
  readonly #domid: number;
  readonly #options: ConnectionOptions;
  #session: Session;
  readonly #head = new Uint8Array(HEADER);
  readonly #fields = new DataView(this.#head.buffer);
  #payload = new Uint8Array(0);
  /** Bytes of header and payload present. */
  #have = 0;
  #out: Message[] = [];
  #sent = 0;
  #queued = 0;
  #replies = 0;
  #events = new Set<string>();
  /** Events that wait for the reply to the request which caused them. */
  #held: [string, string][] | undefined;
  #broken = false;

  constructor(store: Store, domid: number, options: ConnectionOptions) {
    this.#store = store;
    this.#domid = domid;
    this.#options = options;
    this.#session = this.#open();
  }

  /** Answers nothing any more: the client broke the protocol or the connection was closed. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Bytes that wait to be taken. */
  get pending(): number {
    return this.#queued;
  }

  /** Whether `feed` would take anything now. */
  get ready(): boolean {
    return !this.#broken && (this.#domid === 0 || this.#replies < this.#store.quota.outstanding);
  }

  /** Takes bytes that arrived, at most to the end of one message; returns how many. Sets `broken` on a protocol violation. */
  feed(bytes: Uint8Array): number {
    if (!this.ready) return 0;
    let used = 0;
    if (this.#have < HEADER) {
      used = Math.min(HEADER - this.#have, bytes.length);
      this.#head.set(bytes.subarray(0, used), this.#have);
      this.#have += used;
      if (this.#have < HEADER) return used;
      const length = this.#field(XsdSockmsg.off.len);
      if (length > XENSTORE_PAYLOAD_MAX) {
        this.#broken = true;
        return used;
      }
      this.#payload = new Uint8Array(length);
    }
    const at = this.#have - HEADER;
    const more = Math.min(this.#payload.length - at, bytes.length - used);
    this.#payload.set(bytes.subarray(used, used + more), at);
    this.#have += more;
    if (this.#have === HEADER + this.#payload.length) this.#dispatch();
    return used + more;
  }

  /** Up to `max` bytes for the client. */
  take(max: number): Uint8Array {
    const whole = this.#takeOnly(max);
    if (whole) return whole;
    const chunks = Buffer.allocUnsafe(Math.min(max, this.#queued));
    let filled = 0;
    while (filled < chunks.length) {
      const message = this.#out[0];
      if (this.#sent === 0 && message.event !== undefined) this.#events.delete(message.event);
      const piece = message.bytes.subarray(this.#sent, this.#sent + chunks.length - filled);
      chunks.set(piece, filled);
      filled += piece.length;
      this.#sent += piece.length;
      if (this.#sent < message.bytes.length) break;
      this.#out.shift();
      this.#sent = 0;
      if (message.event === undefined) this.#replies -= 1;
    }
    this.#queued -= filled;
    return chunks;
  }

  /** The one reply that waits, if it fits: what most clients are at. */
  #takeOnly(max: number): Uint8Array | undefined {
    const [message] = this.#out;
    if (this.#out.length !== 1 || this.#sent > 0 || message.event !== undefined || message.bytes.length > max) {
      return undefined;
    }
    this.#out.pop();
    this.#replies -= 1;
    this.#queued = 0;
    return message.bytes;
  }

  /** The client starts over: nothing buffered, no watch, no transaction. */
  reset(): void {
    this.#session.reset();
    this.#discard();
    this.#broken = false;
  }

  /** The client broke something that the transport noticed: what it holds is dropped, and it is not served until `reset`. */
  fail(): void {
    this.reset();
    this.#broken = true;
  }

  close(): void {
    this.#session.close();
  }

  #open(): Session {
    return new Session(this.#store, this.#domid, {
      relative: this.#options.relative,
      deliver: (path, token) => this.#event(path, token),
      queued: () => this.#queued,
      closed: () => {
        this.#discard();
        this.#broken = true;
        this.#options.onClose?.();
      },
    });
  }

  #discard(): void {
    this.#have = 0;
    this.#payload = new Uint8Array(0);
    this.#out = [];
    this.#sent = 0;
    this.#queued = 0;
    this.#replies = 0;
    this.#events.clear();
  }

  #field(offset: number): number {
    return this.#fields.getUint32(offset, true);
  }

  #dispatch(): void {
    const payload = this.#payload;
    this.#have = 0;
    this.#payload = new Uint8Array(0);
    const { off } = XsdSockmsg;
    const type = this.#field(off.type);
    const ids = [this.#field(off.req_id), this.#field(off.tx_id)] as const;
    this.#held = [];
    try {
      const reply = this.#run(type, ids[1], payload) ?? OK;
      if (reply.length > XENSTORE_PAYLOAD_MAX) throw new XsError('E2BIG');
      this.#send(type, ids, reply);
    } catch (error) {
      if (!(error instanceof XsError)) throw error;
      this.#send(XS.ERROR, ids, nulTerminated([error.code]));
    } finally {
      const held = this.#held;
      this.#held = undefined;
      for (const [path, token] of held) this.#event(path, token);
    }
  }

  #run(type: number, txId: number, payload: Uint8Array): Uint8Array | undefined {
    const operation = OPERATIONS[type];
    if (!operation) throw new XsError('ENOSYS');
    const session = this.#session;
    if (operation.privileged && !session.privileged) throw new XsError('EACCES');
    const tx = txId !== 0 && !operation.ignoresTransaction ? session.transaction(txId) : undefined;
    return operation.run({ store: this.#store, session, hooks: this.#options.hooks, payload, tx });
  }

  #event(path: string, token: string): void {
    if (this.#held) {
      this.#held.push([path, token]);
      return;
    }
    const event = `${path}\0${token}`;
    const payload = nulTerminated([path, token]);
    if (this.#broken || this.#events.has(event) || payload.length > XENSTORE_PAYLOAD_MAX) return;
    if (!this.#session.privileged && this.#session.memory() + payload.length > this.#store.quota.memory) return;
    this.#events.add(event);
    this.#send(XS.WATCH_EVENT, [0, 0], payload, event);
  }

  #send(type: number, [reqId, txId]: readonly [number, number], payload: Uint8Array, event?: string): void {
    if (this.#broken) return;
    const bytes = Buffer.allocUnsafe(HEADER + payload.length);
    bytes.writeUInt32LE(type, XsdSockmsg.off.type);
    bytes.writeUInt32LE(reqId, XsdSockmsg.off.req_id);
    bytes.writeUInt32LE(txId, XsdSockmsg.off.tx_id);
    bytes.writeUInt32LE(payload.length, XsdSockmsg.off.len);
    bytes.set(payload, HEADER);
    this.#out.push({ bytes, event });
    this.#queued += bytes.length;
    if (event === undefined) this.#replies += 1;
    this.#options.onOutput();
  }
}
