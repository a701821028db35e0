/** How long guest code runs at a stretch, in simulated time: until something is due, as far as its speed is known. */
import { beforeEach, expect, test } from 'vitest';
import { busy, MS, SchedSim, SEC } from './sched-sim.ts';

let x: SchedSim;
beforeEach(() => {
  x = new SchedSim();
  for (let i = 0; i < 4; i++) x.domain([busy()]);
  x.advance(SEC);
});

/** Stays in guest code during 200 ms. */
function stays(): number {
  const before = x.steps;
  x.advance(200 * MS);
  return x.steps - before;
}

test('guest code that was slow for a while, as the host had no time for it, runs long stretches again', () => {
  const usual = stays();
  x.nsPerInstruction = 1000;
  x.advance(300 * MS);
  x.nsPerInstruction = 1;
  x.advance(100 * MS);
  expect(stays()).toBeLessThan(1.2 * usual);
});

test('code that has become slower is given less within a few stays: slices are no longer than planned', () => {
  x.nsPerInstruction = 20;
  x.advance(100 * MS);
  const before = x.steps;
  const began = x.now;
  x.advance(100 * MS);
  // A millisecond each for four that are equal.
  expect((x.now - began) / (x.steps - before)).toBeLessThan(1.05 * MS);
});
