/**
 * In which order a workshop's jobs are done. What is new goes first: until it is there, its code is interpreted. A translation
 * in the place of several takes longest and gains least, so it waits for a time when nothing new is asked for, or a second.
 */
import { pageOf } from '../engine/translator/code-view.ts';
import type { Made, Order } from '../engine/translator/maker.ts';

/** An order, and which pCPU's it is. */
export interface Job {
  readonly pcpu: number;
  readonly order: Order;
}

/** Nothing new for so long; a job that waits for that waits no longer than the other. Milliseconds. */
const QUIET_MS = 100;
const PATIENCE_MS = 1000;

export class OrderQueue {
  private news: Job[] = [];
  private readonly others: { readonly job: Job; readonly since: number }[] = [];
  /** When there was something new. */
  private busy = Number.NEGATIVE_INFINITY;

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
    const job = this.news.shift();
    if (job) {
      this.busy = now;
      return job;
    }
    const [first] = this.others;
    if (!first) return undefined;
    const wait = Math.min(this.busy + QUIET_MS, first.since + PATIENCE_MS) - now;
    if (wait > 0) return wait;
    return this.others.shift()!.job;
  }

  /** Of this job something was made: those that asked for a place in it need not be done. They wait no longer. */
  covered({ pcpu, order }: Job, made: Pick<Made, 'ranges'>): Job[] {
    const within = (x: Job) =>
      x.pcpu === pcpu &&
      x.order.mfn === order.mfn &&
      x.order.hot.every((o) => pageOf(o) === 0 && made.ranges.some(([from, to]) => from <= o && o < to));
    const these = this.news.filter(within);
    if (these.length) this.news = this.news.filter((x) => !within(x));
    return these;
  }
}
