/**
 * In which order a workshop's jobs are done. What is new goes first: until it is there, its code is interpreted. A translation
 * in the place of several takes longest and gains least, so it waits for a time when nothing new is asked for; after a second
 * it takes turns with what is new.
 */
import { overlaps } from '../engine/translator/library.ts';
import type { Made, Order } from '../engine/translator/maker.ts';

/** An order, and which pCPU's it is. */
export interface Job {
  readonly pcpu: number;
  readonly order: Order;
}

/** Nothing new for so long; and how long a job waits for that. Milliseconds. */
const QUIET_MS = 100;
const PATIENCE_MS = 1000;

export class OrderQueue {
  private news: Job[] = [];
  private readonly others: { readonly job: Job; readonly since: number }[] = [];
  /** When there was something new. */
  private busy = Number.NEGATIVE_INFINITY;
  /** Whether that was done last. */
  private lastNew = true;

  /** One more, at time `now` in milliseconds. */
  add(job: Job, now: number): void {
    if (job.order.instead) this.others.push({ job, since: now });
    else {
      this.news.push(job);
      this.busy = now;
    }
  }

  /** What is to be done now; or how many milliseconds that has time; undefined: nothing waits. */
  next(now: number): Job | number | undefined {
    const [first] = this.others;
    const overdue = first !== undefined && now - first.since >= PATIENCE_MS && this.lastNew;
    const job = overdue ? undefined : this.news.shift();
    if (job) {
      this.busy = now;
      this.lastNew = true;
      return job;
    }
    if (!first) return undefined;
    const wait = Math.min(this.busy + QUIET_MS, first.since + PATIENCE_MS) - now;
    if (wait > 0) return wait;
    this.lastNew = false;
    return this.others.shift()!.job;
  }

  /** Of this job something was made: those that asked for a place in it need not be done. They wait no longer. */
  covered({ pcpu, order }: Job, made: Pick<Made, 'ranges'>): Job[] {
    const within = (x: Job) =>
      x.pcpu === pcpu && x.order.mfn === order.mfn && x.order.hot.every((o) => overlaps(made.ranges, o, 1));
    const these = this.news.filter(within);
    if (these.length) this.news = this.news.filter((x) => !within(x));
    return these;
  }
}
