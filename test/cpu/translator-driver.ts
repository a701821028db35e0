/** Runs cases in the translator: the code at the entry is translated before each. */
import { EngineDriver } from './engine-driver.ts';

export class TranslatorDriver extends EngineDriver {
  override readonly name = 'translator';
  /** Cases whose first instruction the translator took. */
  translated = 0;

  protected override enter(): number {
    if (this.sandbox.engine.translator!.translateNow(this.sandbox.cpu)) this.translated++;
    return super.enter();
  }
}
