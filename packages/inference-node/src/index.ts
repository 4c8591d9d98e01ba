export { ConfigError, type NodeConfig, parseNodeConfig } from './config.ts';
export { type RunningNode, startInferenceNode } from './node.ts';
export { openWriteAheadLog, WalCorruptError, WalFailedError, type WriteAheadLog } from './write-ahead-log.ts';
