export { StorageCorruptError, StorageFailedError } from './errors.ts';
export type { StoredBlock, TxPlace } from './records.ts';
export { restoreStateTree } from './restore.ts';
export { type BlockRecord, type LoadedState, openStore, type Store, type StoreOptions } from './store.ts';
