/**
 * What a device has done, as figures that only grow. The back end's thread writes them, the toolstack reads them while it
 * does; they outlive the thread, and begin anew with the device. Names are rows of a kind's table: `name: index`.
 */
export type CounterNames = Readonly<Record<string, number>>;

/**
 * Doubles, as each has one writer and wants no BigInt on the way: an aligned one is read whole on every host there is, and
 * is exact up to 2^53.
 */
export type Counters = Float64Array<SharedArrayBuffer>;

export const counterBytes = (names: CounterNames): number => Object.keys(names).length * Float64Array.BYTES_PER_ELEMENT;

export function readCounters<N extends CounterNames>(names: N, memory: SharedArrayBuffer): Record<keyof N, number> {
  const values = new Float64Array(memory);
  const read = Object.entries(names).map(([name, index]) => [name, values[index]]);
  return Object.fromEntries(read) as Record<keyof N, number>;
}

/** Named as Linux's blkback names its statistics. Requests are those the guest made, sectors (512 bytes) those that went well. */
export const VBD_COUNTERS = { rd_req: 0, wr_req: 1, f_req: 2, ds_req: 3, rd_sect: 4, wr_sect: 5 } as const;

/** From the guest's side: `tx` is what it sent. Packets that were cut up for it count as what it got. */
export const VIF_COUNTERS = {
  tx_bytes: 0,
  tx_packets: 1,
  tx_errors: 2,
  rx_bytes: 3,
  rx_packets: 4,
  rx_errors: 5,
} as const;
