/** Cuts a large TCP packet into what a link can carry: for receivers that do not take segmentation offload. */
import type { FrameMeta } from './bridge/queue.ts';
import { fillBlank, fillIpv4, fillTransport, putWord } from './checksum.ts';
import { PROTOCOL, type Transport, transportOf } from './packet.ts';

const FIN_PSH = 0x09;
const CWR = 0x80;
/** Smallest segment: a guest that asks for less would make a storm of packets of headers. */
const MIN_SEGMENT = 64;

/**
 * Calls `emit` with one or more complete frames, checksums filled in; each is valid until the next. False if the frame is
 * not what its metadata say. A receiver that is no link but takes TCP packets apart gets those of up to `whole` bytes in one,
 * and longer ones in as few as can be.
 */
export function complete(frame: Uint8Array, meta: FrameMeta, emit: (frame: Uint8Array) => void, whole = 0): boolean {
  if (meta.gsoSize === 0) {
    if (meta.checksumBlank && !fillBlank(frame)) return false;
    emit(frame);
    return true;
  }
  const t = transportOf(frame);
  if (!t || t.protocol !== PROTOCOL.TCP || meta.gsoSize < MIN_SEGMENT || t.version !== (meta.gsoType === 2 ? 6 : 4))
    return false;
  if (frame.length > whole) {
    const segments = Math.max(1, Math.floor((whole - t.payload) / meta.gsoSize));
    cut(frame, t, segments * meta.gsoSize, emit);
    return true;
  }
  if (t.version === 4) fillIpv4(frame, t);
  fillTransport(frame, t);
  emit(frame);
  return true;
}

function cut(frame: Uint8Array, t: Transport, size: number, emit: (frame: Uint8Array) => void): void {
  const headers = t.payload;
  const out = new Uint8Array(headers + size);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const sequence = view.getUint32(t.at + 4);
  const id = view.getUint16(t.ip + 4);
  const flags = frame[t.at + 13];
  const total = t.end - headers;
  for (let done = 0, n = 0; done < total || n === 0; done += size, n++) {
    const length = Math.min(size, total - done);
    const end = headers + length;
    const last = done + length === total;
    out.set(frame.subarray(0, headers));
    out.set(frame.subarray(headers + done, headers + done + length), headers);
    const segment = { ...t, end };
    new DataView(out.buffer).setUint32(t.at + 4, (sequence + done) >>> 0);
    out[t.at + 13] = flags & ~(last ? 0 : FIN_PSH) & ~(n === 0 ? 0 : CWR);
    if (t.version === 4) {
      putWord(out, t.ip + 2, end - t.ip);
      putWord(out, t.ip + 4, (id + n) & 0xffff);
      fillIpv4(out, segment);
    } else {
      putWord(out, t.ip + 4, end - t.ip - 40);
    }
    fillTransport(out, segment);
    emit(out.subarray(0, end));
  }
}
