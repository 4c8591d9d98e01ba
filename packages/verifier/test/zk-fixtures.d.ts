/** Keys of many shapes, and statements and proofs that are well formed but prove nothing. */
import { type Program, type VerifyingKey, type ZkStatement } from '@haca/circuit';
import { type ZkExample } from '@haca/testkit';
/** One that uses every op, axis relation and mode that the others leave out. */
export declare function oddments(): ZkExample;
export declare const EXAMPLES: Readonly<Record<string, () => ZkExample>>;
export interface Fixture {
  readonly key: VerifyingKey;
  readonly keyBytes: Uint8Array;
  readonly program: Program;
  readonly statement: ZkStatement;
}
/** All tensor bytes are zero. */
export declare function fixture(name: string, batchSize?: number): Fixture;
/** The right length and header; the rest as `fill` says. */
export declare function emptyProof(
  { key, program }: Fixture,
  fill: (length: number) => Uint8Array,
): Uint8Array;
