/** Capture files (pcap, microseconds, Ethernet: draft-ietf-opsawg-pcap), for tcpdump, tshark and Wireshark. */
import { closeSync, openSync, writeSync } from 'node:fs';

const MAGIC = 0xa1b2c3d4;
const LINKTYPE_ETHERNET = 1;
const SNAPLEN = 262144;

export class Capture {
  #fd: number;
  #left: number;
  readonly #record = new Uint8Array(16);

  /** Makes the file anew. No more than `maxBytes` are written: then the capture ends. Throws what opening throws. */
  constructor(path: string, maxBytes: number) {
    this.#fd = openSync(path, 'w', 0o600);
    this.#left = maxBytes;
    const header = new DataView(new ArrayBuffer(24));
    header.setUint32(0, MAGIC, true);
    header.setUint16(4, 2, true);
    header.setUint16(6, 4, true);
    header.setUint32(16, SNAPLEN, true);
    header.setUint32(20, LINKTYPE_ETHERNET, true);
    this.#write(new Uint8Array(header.buffer));
  }

  frame(frame: Uint8Array, epochMs = performance.timeOrigin + performance.now()): void {
    if (this.#fd < 0) return;
    if (this.#left < this.#record.length + frame.length) {
      this.close();
      return;
    }
    const view = new DataView(this.#record.buffer);
    view.setUint32(0, Math.floor(epochMs / 1000), true);
    view.setUint32(4, Math.floor((epochMs % 1000) * 1000), true);
    view.setUint32(8, frame.length, true);
    view.setUint32(12, frame.length, true);
    this.#write(this.#record);
    this.#write(frame);
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  /** A disk that is full ends the capture, not the network. */
  #write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length && this.#fd >= 0; ) at += writeSync(this.#fd, bytes, at);
      this.#left -= bytes.length;
    } catch {
      this.close();
    }
  }
}
