/**
 * The witness contradicts the program: a value outside its tensor's interval, a tuple that no table holds, outputs that
 * are not the model's. Weights and inputs are checked before, so the first two are faults of the engine.
 */
export class IntegerGraphError extends Error {
  override readonly name = 'IntegerGraphError';
  readonly code: 'interval' | 'lookup' | 'outputs' | 'weights';
  /** The tensor or lookup, as the program names it. */
  readonly place: string;

  constructor(code: IntegerGraphError['code'], place: string, detail: string) {
    super(`${code}: ${place}: ${detail}`);
    this.code = code;
    this.place = place;
  }
}
