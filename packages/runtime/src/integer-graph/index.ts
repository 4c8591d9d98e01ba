export { type Assignment, assign } from './assignment.ts';
export { IntegerGraphError } from './errors.ts';
export { type IntegerEngineModel, type IntegerEngineOptions, openIntegerEngine } from './integer-engine.ts';
export { createIntegerModel, type IntegerModel } from './model.ts';
export { runModel } from './run-model.ts';
