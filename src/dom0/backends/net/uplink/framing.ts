/** Frames on a stream socket, as QEMU's and passt's "stream" network devices send them: each behind its length, 32 bits, big-endian. */
import { copyBytes } from '../../../kernel/copy.ts';
import { MAX_FRAME } from '../bridge/queue.ts';

const LENGTH = 4;

/** Bytes that a frame takes on the stream. */
export const framedLength = (length: number) => LENGTH + length;

/** The other end sent something that is no frame: where the next one begins cannot be known. */
export class FramingError extends Error {}

/** Takes a stream apart; `frame` gets each frame whole, valid during the call. */
export class FrameReader {
  readonly #frame: (frame: Uint8Array) => void;
  #rest = new Uint8Array(0);

  constructor(frame: (frame: Uint8Array) => void) {
    this.#frame = frame;
  }

  /** The next bytes of the stream, in pieces of any size. Throws FramingError. */
  push(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#rest.length) {
      bytes = new Uint8Array(this.#rest.length + chunk.length);
      bytes.set(this.#rest);
      bytes.set(chunk, this.#rest.length);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (at + LENGTH <= bytes.length) {
      const length = view.getUint32(at);
      if (length > MAX_FRAME) throw new FramingError(`a frame of ${length} bytes`);
      if (at + LENGTH + length > bytes.length) break;
      this.#frame(bytes.subarray(at + LENGTH, at + LENGTH + length));
      at += LENGTH + length;
    }
    this.#rest = bytes.slice(at);
  }
}

/** Collects frames into one piece for the socket. */
export class FrameWriter {
  #bytes = Buffer.allocUnsafe(1 << 16);
  #used = 0;

  get length(): number {
    return this.#used;
  }

  add(frame: Uint8Array): void {
    const need = this.#used + framedLength(frame.length);
    if (need > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(need, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#used);
      this.#bytes = larger;
    }
    this.#used = this.#bytes.writeUInt32BE(frame.length, this.#used);
    copyBytes(frame, 0, frame.length, this.#bytes, this.#used);
    this.#used += frame.length;
  }

  /** What was collected; the writer begins anew. */
  take(): Buffer {
    const out = this.#bytes.subarray(0, this.#used);
    this.#bytes = Buffer.allocUnsafe(1 << 16);
    this.#used = 0;
    return out;
  }
}
