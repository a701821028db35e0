/** What carries out the calls of the control API. Each is a line or two: the work is the toolstack's. */
import type { Host } from '../../../dom0/host.ts';
import type { Progress } from '../../../dom0/toolstack/boot-files.ts';
import type { CallName, Params, Result } from '../../schema/index.ts';

/** The process around the host. */
export interface HostProcess {
  readonly started: number;
  readonly socket: string;
  readonly state: 'running' | 'stopping' | 'failed';
  /** Shuts the guests down and ends; returns at once. */
  stop(timeoutMs?: number): void;
}

export interface CallContext {
  readonly host: Host;
  readonly process: HostProcess;
  readonly progress: Progress;
}

export type Handlers<N extends CallName = CallName> = {
  readonly [K in N]: (context: CallContext, params: Params<K>) => Result<K> | Promise<Result<K>>;
};

/** Id of the domain that a call names; throws NoDomainError. */
export const domidOf = ({ host }: CallContext, which: number | string) => host.toolstack.domainInfo(which).domid;
