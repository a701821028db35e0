/** Where the bytes of a stream go in an image: in blocks, and nowhere if they are zero, so that images are as small as what they hold. */

export const BLOCK = 65536;

export interface BlockSink {
  /** `bytes` (BLOCK of them, less at the end) belong at `position`. They are valid during the call. */
  write(position: number, bytes: Uint8Array): void;
}

const ZERO = Buffer.alloc(BLOCK);

/** Hands every block that is not all zeros to `sink`; resolves to the length of the stream. */
export async function copySparse(stream: AsyncIterable<Uint8Array>, sink: BlockSink): Promise<number> {
  const block = Buffer.alloc(BLOCK);
  let position = 0;
  let used = 0;
  const flush = () => {
    if (!block.subarray(0, used).equals(ZERO.subarray(0, used))) sink.write(position, block.subarray(0, used));
    position += used;
    used = 0;
  };
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length; ) {
      const piece = chunk.subarray(at, at + BLOCK - used);
      block.set(piece, used);
      used += piece.length;
      at += piece.length;
      if (used === BLOCK) flush();
    }
  }
  if (used) flush();
  return position;
}
