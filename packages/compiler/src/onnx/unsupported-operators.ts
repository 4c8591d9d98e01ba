/** Every operator of a model that can't be imported, for a report that names them all at once. */
import { ML_OPS, OPS } from '../float/graph.ts';
import { parseOnnx } from './model.ts';

export interface UnsupportedOperator {
  /** With its domain where that is not the default one. */
  readonly operator: string;
  readonly places: readonly string[];
}

/** The linear models of ai.onnx.ml, which are read as other operators. */
const LINEAR_MODELS: ReadonlySet<string> = new Set(['LinearClassifier', 'LinearRegressor']);

/** Throws `MalformedError` where the bytes are no model. */
export function unsupportedOperators(model: Uint8Array): readonly UnsupportedOperator[] {
  const found = new Map<string, string[]>();
  for (const { domain, opType, place } of parseOnnx(model).nodes) {
    const isKnown =
      domain === ''
        ? Object.hasOwn(OPS, opType) && !ML_OPS.has(opType)
        : domain === 'ai.onnx.ml' && (ML_OPS.has(opType) || LINEAR_MODELS.has(opType));
    if (isKnown) continue;
    const operator = domain === '' ? opType : `${domain}.${opType}`;
    found.set(operator, [...(found.get(operator) ?? []), place]);
  }
  return [...found].map(([operator, places]) => ({ operator, places }));
}
