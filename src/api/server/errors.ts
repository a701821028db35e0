/** How errors of the toolstack appear to clients of the control API. */
import { ZodError } from 'zod';
import { HypercallError } from '../../dom0/kernel/hypercalls.ts';
import { ToolstackError } from '../../dom0/toolstack/error.ts';
import { KernelError } from '../../dom0/toolstack/kernel/kernel.ts';
import { SpecError } from '../../dom0/toolstack/spec.ts';
import { NoDomainError } from '../../dom0/toolstack/toolstack.ts';
import { XsError } from '../../dom0/xenstored/xenstored.ts';
import type { ApiErrorBody } from '../schema/index.ts';

/** What a request asks for is wrong in itself: its path, its method, its body. */
export class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** `unexpected`: a fault of ours, to be logged. */
export function describeError(error: unknown): { status: number; body: ApiErrorBody; unexpected: boolean } {
  const { message } = error as Error;
  const answer = (status: number, body: ApiErrorBody) => ({ status, body, unexpected: false });
  if (error instanceof RequestError) return answer(error.status, { kind: 'usage', message });
  if (error instanceof ZodError) {
    const problems = error.issues.map((i) => ({ key: i.path.map(String).join('.'), message: i.message }));
    const text = problems.map((p) => (p.key ? `${p.key}: ${p.message}` : p.message)).join('\n');
    return answer(400, { kind: 'usage', message: text, problems });
  }
  if (error instanceof SpecError) return answer(400, { kind: 'usage', message, problems: error.problems });
  if (error instanceof NoDomainError) return answer(404, { kind: 'not-found', message });
  if (error instanceof HypercallError) return answer(409, { kind: 'hypervisor', message, errno: error.code });
  if (error instanceof ToolstackError || error instanceof KernelError || error instanceof XsError) {
    return answer(409, { kind: 'refused', message });
  }
  return { status: 500, body: { kind: 'internal', message }, unexpected: true };
}
