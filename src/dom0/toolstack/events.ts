/** What happens to domains and devices, told to whoever listens: faces, the event stream of the control API. */

export type DomainState = 'running' | 'paused' | 'shutdown' | 'destroyed';

export type ToolstackEvent =
  | { readonly type: 'domain.created'; readonly domid: number; readonly name: string; readonly uuid: string }
  | {
      readonly type: 'domain.state';
      readonly domid: number;
      readonly name: string;
      readonly state: DomainState;
      /** Why it ended (DomainEnd), when it has. */
      readonly reason?: string;
    }
  | { readonly type: 'domain.renamed'; readonly domid: number; readonly name: string; readonly oldName: string }
  /** It crashed, or its watchdog ran out; `cause` is the line of its console that says why, if one does. */
  | { readonly type: 'domain.crashed'; readonly domid: number; readonly name: string; readonly cause: string }
  | { readonly type: 'domain.restarted'; readonly domid: number; readonly name: string; readonly oldDomid: number }
  | {
      readonly type: 'device.state';
      readonly domid: number;
      /** `vbd`, `vif`, `console`, as in the path of the back end. */
      readonly kind: string;
      readonly device: string;
      readonly end: 'frontend' | 'backend';
      /** XenbusState. */
      readonly state: number;
    }
  | { readonly type: 'console'; readonly domid: number; readonly name: string; readonly open: boolean }
  | { readonly type: 'host'; readonly state: 'stopping' | 'failed'; readonly message?: string };

/** An event with its place in the order of all events of this host, and its time in ms since 1970. */
export type NumberedEvent = ToolstackEvent & { readonly id: number; readonly time: number };

/** Events kept for listeners that come back after a lost connection. */
const HISTORY = 1024;

export class EventBus {
  readonly #listeners = new Set<(event: NumberedEvent) => void>();
  readonly #history: NumberedEvent[] = [];
  #next = 1;

  /** Listeners are called at once, one after the other; an error of one is not the emitter's. */
  emit(event: ToolstackEvent): void {
    const numbered: NumberedEvent = { ...event, id: this.#next++, time: Date.now() };
    this.#history.push(numbered);
    if (this.#history.length > HISTORY) this.#history.shift();
    for (const listener of this.#listeners) listener(numbered);
  }

  /** `after`: events later than this one, as far as they are kept, come first. Returns how to stop. */
  listen(listener: (event: NumberedEvent) => void, after?: number): () => void {
    if (after !== undefined) for (const event of this.#history) if (event.id > after) listener(event);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Id of the latest event; 0: none yet. */
  get last(): number {
    return this.#next - 1;
  }
}
