/**
 * Hashes of the newest blocks, as bindings of node keys name them. A block that pays gas writes those of all blocks since the
 * last such one, its own included, so that whoever has the state of such a block has every hash that execution can ask for.
 * Blocks without transactions write nothing: they leave the state alone.
 */
import type { ProtocolParams } from '@haca/protocol';
import type { State } from './state.ts';
import { recentBlocks, totalsOf } from './tables.ts';
import type { BlockInput } from './types.ts';

/** Before the totals of this block are written: they say up to which height hashes are kept. */
export function keepBlockHashes(state: State, input: BlockInput, { settleWindow }: ProtocolParams): void {
  const first = Math.max(totalsOf(state).baseFeeHeight + 1, input.height - settleWindow + 1, 1);
  for (let height = first; height <= input.height; height++) {
    const hash = height === input.height ? input.hash : input.recentBlockHash(height);
    if (hash !== undefined) recentBlocks.put(state, { height, hash }, height, settleWindow);
  }
}

/** Hash of a block of the last `settleWindow` before this one, or undefined. */
export function recentBlockHash(
  state: State,
  block: Pick<BlockInput, 'recentBlockHash'>,
  { settleWindow }: ProtocolParams,
  height: number,
): Uint8Array | undefined {
  if (height > totalsOf(state).baseFeeHeight) return block.recentBlockHash(height);
  const kept = recentBlocks.get(state, height, settleWindow);
  return kept?.height === height ? kept.hash : undefined;
}
