/** Runs cases in the translator: the code at the entry is translated before each. */
import { decodeSaved, type Saved } from '../../src/engine/translator/saved.ts';
import { EngineDriver } from './engine-driver.ts';

export class TranslatorDriver extends EngineDriver {
  override readonly name = 'translator';
  /** Cases whose first instruction the translator took. */
  translated = 0;

  /** Those that are still there. */
  get translations(): readonly Saved[] {
    return decodeSaved(this.sandbox.engine.translator!.save());
  }

  protected override enter(): number {
    if (this.sandbox.engine.translator!.translateNow(this.sandbox.cpu)) this.translated++;
    return super.enter();
  }
}
