export { ConfigError, type NodeConfig, parseNodeConfig } from './config.ts';
export { decodeJournalEntry, type JournalEntry } from './journal.ts';
export { type RunningNode, startInferenceNode } from './node.ts';
export { openWriteAheadLog, WalCorruptError, WalFailedError, type WriteAheadLog } from './write-ahead-log.ts';
