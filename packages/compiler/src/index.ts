/** ONNX in, verifying key and integer weights out. */

export { encodeHzk, type HzkModel, type HzkPort, parseHzk } from '@haca/circuit';
export { type CalibrationData, parseCalibration, readCalibration, SAMPLES_MAX } from './calibration-data.ts';
export {
  type CompiledModel,
  type CompileProgress,
  type CompileRequest,
  compileModel,
} from './compile-model.ts';
export { evaluateGraph, type FloatGraph, multiplicationsOf } from './float/graph.ts';
export { type Tensor, tensorOf } from './float/tensor.ts';
export {
  type ImportedKey,
  type ImportOptions,
  type ImportProgress,
  type ImportReport,
  type ImportRequest,
  importOnnx,
  quantizeInput,
} from './import-onnx.ts';
export { type ImportedModel, importGraph } from './onnx/import-graph.ts';
export { MODEL_BYTES_MAX, OPSETS, parseOnnx } from './onnx/model.ts';
export { type UnsupportedOperator, unsupportedOperators } from './onnx/unsupported-operators.ts';
export type { Layer, Port } from './quantize/lowering.ts';
