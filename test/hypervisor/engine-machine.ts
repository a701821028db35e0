/** A machine of one pCPU with the real engine, on the test's own thread: guests run the code that is in their memory. */
import { areaLayout, codeOwnersSize } from '../../src/engine/area.ts';
import { prepareArea } from '../../src/engine/bare.ts';
import { createEngine, type Engine } from '../../src/engine/engine.ts';
import { CpuState, EXIT } from '../../src/engine/state.ts';
import { AREA_BASE } from '../../src/machine/layout.ts';
import { loadEngineParts } from '../../src/machine/parts.ts';
import { MmMachine, type Processor } from './mm-machine.ts';

const FRAMES = 16384;
const ARENA = 4 << 20;
/** Fuel that one stay in guest code gets at most: 500 instructions. */
const FUEL = 500 * 32;

let parts: ReturnType<typeof loadEngineParts> | undefined;

/** Runs guest code in the engine: the exit. */
type Run = (cpu: number, engine: Engine['exports']) => number;

function processor(run: Run): Processor {
  const area = AREA_BASE + codeOwnersSize(FRAMES);
  const areaSize = areaLayout(area, FRAMES, ARENA).size;
  return {
    area,
    areaSize,
    owners: AREA_BASE,
    heap: area + areaSize,
    engine(memory) {
      parts ??= loadEngineParts();
      prepareArea(memory, area, FRAMES, { codeOwners: AREA_BASE, cpu: 0, cpus: 1 }, ARENA);
      const now = process.hrtime.bigint;
      const host = { now, random: () => 4n, stopOthers: () => 1, resumeOthers: () => {} };
      const engine = createEngine({
        ...parts,
        memory,
        area,
        frames: FRAMES,
        arenaSize: ARENA,
        translationMiB: 0,
        host,
      });
      return { ...engine.exports, run: (cpu: number) => run(cpu, engine.exports) };
    },
  };
}

export class EngineMachine extends MmMachine {
  /** Times that guest code was entered. */
  entries = 0;
  /** Times that the hypervisor gave a vCPU fuel: that it went round the pCPU's loop. */
  turns = 0;
  /** Guest code may be entered so often; then the pCPU stops. */
  private left = 0;
  private parking = false;
  private changed = false;

  constructor() {
    const hook: { run?: Run } = {};
    super(
      FRAMES,
      processor((cpu, engine) => hook.run!(cpu, engine)),
    );
    hook.run = (cpu, engine) => this.enter(cpu, engine);
  }

  /** The test has changed control registers and code of the vCPU that runs next: the engine looks at both anew. */
  private lookAnew(cpu: number, engine: Engine['exports']): void {
    this.changed = false;
    engine.code_flush();
    engine.tlb_reset();
    (engine.hvm_enter as (cpu: number) => void)(cpu);
  }

  /** Runs guests until they sleep, or have been entered `entries` times. */
  runGuests(entries: number): void {
    this.left = entries;
    this.changed = true;
    this.go();
  }

  /** Whoever runs shuts itself down, so that the pCPU is idle. */
  protected override park(): void {
    this.parking = true;
    this.go();
    this.parking = false;
  }

  /** Timers that are due soon are waited for. */
  protected override idle(word: number, expected: number, timeout: number): void {
    if (this.parking || timeout < 0 || timeout > 2e6) this.stop();
    else Atomics.wait(new Int32Array(this.memory.buffer), word, expected, timeout / 1e6);
  }

  private enter(cpu: number, engine: Engine['exports']): number {
    if (this.parking) return EXIT.TRIPLE_FAULT;
    if (this.changed) this.lookAnew(cpu, engine);
    const fuel = cpu + CpuState.off.fuel;
    if (this.left-- <= 0) {
      this.view.setInt32(fuel, 0, true);
      this.stop();
      return EXIT.PREEMPT;
    }
    this.entries++;
    if (this.view.getInt32(fuel, true) > FUEL) {
      this.turns++;
      this.view.setInt32(fuel, FUEL, true);
    }
    return engine.run(cpu);
  }
}
