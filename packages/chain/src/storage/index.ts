export { StorageCorruptError, StorageFailedError } from './errors.ts';
export type { EventRow, EventTags } from './indexes.ts';
export type { StoredBlock, TxPlace } from './records.ts';
export { type RestoreOptions, restoreStateTree } from './restore.ts';
export { type RolledBack, rollbackStore } from './rollback.ts';
export {
  type BlockRecord,
  type LoadedState,
  openStore,
  type Store,
  type StoreOptions,
  type StoreRestore,
} from './store.ts';
