/** Kernels of the prover. Addresses are bytes of the shared memory, ranges are half open, `element`s five words. */
export { hashMany } from '../../platform/assembly/blake3';
export { setScratch } from './scratch';
export * from './vector';
export {
  combineNumerators,
  fractionLeaves,
  fractionLevel,
  layerFirstRound,
  layerFoldRound,
  layerRound,
  leavesFirstRound,
  leavesFold,
  shrinkWeights,
} from './gkr';
export { productRound, tripleRound, weightedProductRound, weightedRound } from './sumcheck';
export { grind, hashBlocks, hashColumns } from './hash';
export { encodeBlocks, encodeColumns, joinBlocks, joinColumns, pairTwiddles, quadTwiddles } from './ntt';
