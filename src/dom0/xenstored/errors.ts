/** How a XenStore operation fails: with one of the errno names that the wire protocol knows. */
import type { XsdError } from '../../abi/xs_wire.ts';

export class XsError extends Error {
  readonly code: XsdError;

  constructor(code: XsdError, detail?: string) {
    super(detail ? `${code}: ${detail}` : code);
    this.name = 'XsError';
    this.code = code;
  }
}
