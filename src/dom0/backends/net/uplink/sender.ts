/**
 * Frames on their way into passt's socket. passt before July 2024 loses its place in the stream if it reads a part of a frame
 * and its next read does not give all of the rest: it then drops frames until the socket is empty once. So what is written at a
 * time are whole frames, few enough that Linux puts them into the socket together or not at all.
 */
import type { Writable } from 'node:stream';
import { FrameWriter, framedLength } from './framing.ts';

/** Linux cuts what is written to a Unix stream socket into buffers of 48832 bytes. */
const PIECE = 40 << 10;
/** Longest frame that does not need a write of its own, which is in two buffers then: passt's second read gives the other. */
export const MAX_TOGETHER = PIECE - framedLength(0);

export class FrameSender {
  readonly #socket: Writable;
  readonly #room: () => void;
  /** Full ones that wait for their turn, and the next one. */
  readonly #pieces: Buffer[] = [];
  readonly #writer = new FrameWriter();
  #full = 0;

  /** `room`: called when the socket has taken what waited for it longest. */
  constructor(socket: Writable, room: () => void) {
    this.#socket = socket;
    this.#room = room;
  }

  /** Bytes that the socket has not taken. */
  get waiting(): number {
    return this.#socket.writableLength + this.#full + this.#writer.length;
  }

  /** The frame is copied; it is sent with others, with `flush` at the latest. */
  add(frame: Uint8Array): void {
    if (this.#writer.length > 0 && this.#writer.length + framedLength(frame.length) > PIECE) {
      this.#full += this.#writer.length;
      this.#pieces.push(this.#writer.take());
      this.flush();
    }
    this.#writer.add(frame);
  }

  /** Writes what the socket takes at once; the rest follows by itself. */
  flush(): void {
    // Two pieces that wait in the stream would be written as one.
    while (this.#socket.writableLength === 0 && !this.#socket.destroyed) {
      const piece = this.#next();
      if (!piece) return;
      this.#socket.write(piece, this.#written);
    }
  }

  #next(): Buffer | undefined {
    const piece = this.#pieces.shift();
    if (piece) this.#full -= piece.length;
    return piece ?? (this.#writer.length > 0 ? this.#writer.take() : undefined);
  }

  readonly #written = (error?: Error | null): void => {
    if (error) return;
    this.flush();
    this.#room();
  };
}
