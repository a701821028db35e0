/**
 * The GDB remote serial protocol's framing (GDB manual, appendix E): `$data#checksum` both ways, each acknowledged by `+`
 * until both sides agree not to, and a lone 0x03 that interrupts. The client is not trusted to keep to it.
 */
import { toBytes } from '../xenstored/strings.ts';

/** Longest packet that is taken; told to the client (PacketSize). */
export const PACKET_MAX = 0x8000;

const INTERRUPT = 0x03;
const [START, END, ESCAPE] = [...'$#}'].map((c) => c.charCodeAt(0));
const ESCAPE_XOR = 0x20;

function checksum(data: Uint8Array): number {
  let sum = 0;
  for (const byte of data) sum = (sum + byte) & 0xff;
  return sum;
}

/** A packet with `data`, whose characters stand for bytes. */
export function encodePacket(data: string): Uint8Array {
  const escaped = data.replaceAll(/[#$}*]/g, (c) => `}${String.fromCharCode(c.charCodeAt(0) ^ ESCAPE_XOR)}`);
  return toBytes(`$${escaped}#${checksum(toBytes(escaped)).toString(16).padStart(2, '0')}`);
}

export interface PacketHandler {
  /** A whole packet with a right checksum; characters stand for bytes. */
  packet(data: string): void;
  interrupt(): void;
  /** A packet came damaged: it is to be asked for again. */
  damaged(): void;
  /** The client wants the last packet once more. */
  resend(): void;
}

/** Cuts a stream of bytes into packets. */
export class PacketReader {
  readonly #handler: PacketHandler;
  #packet: number[] | undefined;
  /** Digits of the checksum that are still to come; the first of them. */
  #sumDigits = 0;
  #sum = '';

  constructor(handler: PacketHandler) {
    this.#handler = handler;
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) this.#byte(byte);
  }

  #byte(byte: number): void {
    if (this.#sumDigits > 0) {
      this.#sum += String.fromCharCode(byte);
      this.#sumDigits -= 1;
      if (this.#sumDigits === 0) this.#complete();
    } else if (byte === START) this.#packet = [];
    else if (this.#packet) {
      if (byte === END) {
        this.#sumDigits = 2;
        this.#sum = '';
      } else if (this.#packet.length < PACKET_MAX) this.#packet.push(byte);
      else this.#packet = undefined; // what follows is noise until the next one starts
    } else if (byte === INTERRUPT) this.#handler.interrupt();
    else if (byte === '-'.charCodeAt(0)) this.#handler.resend();
  }

  #complete(): void {
    const raw = Uint8Array.from(this.#packet ?? []);
    this.#packet = undefined;
    if (!/^[0-9a-f]{2}$/i.test(this.#sum) || Number.parseInt(this.#sum, 16) !== checksum(raw)) this.#handler.damaged();
    else this.#handler.packet(withoutEscapes(raw));
  }
}

function withoutEscapes(raw: Uint8Array): string {
  let text = '';
  for (let i = 0; i < raw.length; i++) {
    const escaped = raw[i] === ESCAPE && i + 1 < raw.length;
    if (escaped) i += 1;
    text += String.fromCharCode(escaped ? raw[i] ^ ESCAPE_XOR : raw[i]);
  }
  return text;
}
