/** A kernel image that cannot be used: what was found, and what to do. Callers put the file's name before it. */
export class KernelError extends Error {
  override readonly name = 'KernelError';
}
