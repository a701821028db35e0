/** Which of several queues a frame goes to: frames of one connection always to the same one. */
import { transportOf } from './packet.ts';

/** A number from 0 up that depends on addresses and ports only. */
export function flowHash(frame: Uint8Array): number {
  const t = transportOf(frame);
  if (!t) return 0;
  let hash = 0x811c9dc5;
  const mix = (from: number, to: number) => {
    for (let at = from; at < to; at++) hash = Math.imul(hash ^ frame[at], 0x01000193);
  };
  if (t.version === 4) mix(t.ip + 12, t.ip + 20);
  else mix(t.ip + 8, t.ip + 40);
  mix(t.at, t.at + 4);
  return hash >>> 1;
}
