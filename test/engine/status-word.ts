/** The x87 status word as the guest sees it, which CpuState has in two parts. */
import { CpuState } from '../../src/engine/state.ts';

const { fsw, ftop } = CpuState.off;
const TOP = 0x3800;

export const getStatusWord = (view: DataView, cpu: number): number =>
  view.getUint16(cpu + fsw, true) | (view.getUint16(cpu + ftop, true) << 11);

export function setStatusWord(view: DataView, cpu: number, sw: number): void {
  view.setUint16(cpu + fsw, sw & ~TOP, true);
  view.setUint16(cpu + ftop, (sw & TOP) >> 11, true);
}
