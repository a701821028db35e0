/** A domain cannot be made or changed as asked. The message says what was asked, what was found and what to do. */
export class ToolstackError extends Error {
  override readonly name = 'ToolstackError';
}
