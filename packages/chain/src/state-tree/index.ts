export { BATCH_CHANGES_MAX, type Change } from './batch.ts';
export {
  createStateTree,
  type PinnedState,
  type ProvenValue,
  type StagedState,
  type StateTree,
  type StateTreeOptions,
} from './state-tree.ts';
