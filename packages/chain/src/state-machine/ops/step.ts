/** What an operation sees besides the state, and what it hands back. */
import type { AccountKey } from '@haca/protocol';
import type { Refusal } from '../refusal.ts';
import type { State } from '../state.ts';
import type { BlockInput, ChainEvent, ExecutionContext } from '../types.ts';

export interface Step {
  readonly state: State;
  readonly ctx: ExecutionContext;
  readonly block: Pick<BlockInput, 'height' | 'timeMs' | 'hash' | 'recentBlockHash'>;
  /** nopg per gas that this block burns. */
  readonly baseFee: bigint;
  /** Account of the transaction's sender, and its key. */
  readonly sender: Uint8Array;
  readonly senderKey: AccountKey;
  readonly nonce: number;
  /** The voting power of some validator may be another after this. */
  readonly restake: () => void;
  readonly emit: (type: string, attributes: Readonly<Record<string, EventValue>>) => void;
}

/** Bytes are shown as hex, numbers and amounts as decimals; absent members are left out. */
export type EventValue = string | number | bigint | boolean | Uint8Array | undefined;

/** Undefined where the operation was applied. */
export type Outcome = Refusal | undefined;

export type Emitted = ChainEvent;
