export { BATCH_CHANGES_MAX, type Change } from './batch.ts';
export {
  createStateTree,
  type ProvenValue,
  type StagedState,
  type StateTree,
  type StateTreeOptions,
} from './state-tree.ts';
