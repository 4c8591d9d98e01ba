/** One request on its way, as every step of it sees it. */
import type { TensorShape } from '@haca/circuit';
import type { SignedObject, Voucher } from '@haca/protocol';
import type { PendingAnswer } from '../answer.ts';
import type { Route } from '../directory.ts';
import type { ProvenVerifyingKey } from '../zk/proof.ts';
import type { RequestParams } from './body.ts';
import type { Lane } from './lanes.ts';

/** What the answer to a request of method `zk` is held against. */
export interface ZkExpectation {
  readonly verifyingKey: ProvenVerifyingKey;
  readonly shapes: { readonly outputs: readonly TensorShape[] };
}

/** One request that was, or is about to be, sent with one voucher. */
export interface Attempt {
  readonly route: Route;
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers: Headers;
  readonly params: RequestParams;
  readonly requestHash: Uint8Array;
  readonly zk: ZkExpectation | null;
  readonly lane: Lane;
  readonly voucher: SignedObject<Voucher>;
  readonly reserve: bigint;
  readonly idempotencyKey: string;
  readonly minRefHeight: number;
  readonly startedAtMs: number;
}

/** What of an attempt there is before a node is chosen and paid. */
export type RequestParts = Pick<Attempt, 'path' | 'body' | 'headers' | 'params' | 'requestHash' | 'zk'>;

/** What a caller gets; the answer is null where the node refused. */
export interface Inference {
  readonly response: Response;
  readonly pending: PendingAnswer | null;
}
