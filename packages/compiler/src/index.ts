/** ONNX in, verifying key and integer weights out. */

export { evaluateGraph, type FloatGraph, multiplicationsOf } from './float/graph.ts';
export { type Tensor, tensorOf } from './float/tensor.ts';
export { type ImportedModel, importGraph } from './onnx/import-graph.ts';
export { parseOnnx } from './onnx/model.ts';
