export {
  type ChatContentPart,
  type ChatMessage,
  type ChatRequest,
  type DeltaEvent,
  type EndEvent,
  type Engine,
  type EngineBase,
  EngineError,
  type EngineErrorCode,
  type EngineErrorDetails,
  type EngineEvent,
  type EngineModel,
  type TensorEngine,
  type TensorRequest,
} from './engine.ts';
export {
  type Assignment,
  assign,
  createIntegerModel,
  type IntegerEngineModel,
  type IntegerEngineOptions,
  IntegerGraphError,
  type IntegerModel,
  openIntegerEngine,
  runModel,
} from './integer-graph/index.ts';
export { type OnnxChatEngineOptions, openOnnxChatEngine } from './onnx/chat-engine.ts';
export {
  openUpstreamEngine,
  type UpstreamEngineOptions,
  type UpstreamModel,
  type UpstreamTimeouts,
} from './upstream/upstream-engine.ts';
