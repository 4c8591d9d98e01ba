/**
 * The proof file `.hzp`: one proof with all that it is about, so that it can be verified wherever it is carried. Nothing
 * in it says that it is the right one: whoever verifies brings the key's hash and the context from elsewhere.
 */

import {
  arrayOf,
  bytesEqual,
  bytesOf,
  type Codec,
  decode,
  encode,
  field,
  MalformedError,
  optionalField,
  struct,
  type TypeOf,
  textOf,
  uint,
  utf8Encode,
} from '@haca/primitives';
import { deriveKey } from '@haca/primitives/zk';
import type { ZkStatement } from '@haca/protocol';
import { LIMITS } from './limits.ts';

export const HZP_BYTES_MAX = 2 ** 26;
const FORMAT = 'haca zk proof';
const VERSION = 1;
const PORTS_MAX = 64;
/** Cells of public tensors have at most 4 bytes. */
const TENSOR_BYTES_MAX = 4 * LIMITS.publicCells;

const tensors = arrayOf(bytesOf(1, TENSOR_BYTES_MAX), PORTS_MAX, 1);

const fileCodec = struct({
  format: field(0, textOf(1, 32)),
  version: field(1, uint(255)),
  verifyingKey: field(2, bytesOf(1, LIMITS.keyBytes)),
  chainId: field(3, bytesOf(32)),
  claimId: field(4, bytesOf(32)),
  nonce: field(5, bytesOf(32)),
  batchSize: field(6, uint(LIMITS.maxBatch)),
  /** Per public tensor in key order, `batchSize` rows one after the other. */
  inputs: field(7, tensors),
  outputs: field(8, tensors),
  proof: field(9, bytesOf(1, LIMITS.proofBytes)),
  /** That the committed weights are integers of their intervals: one for all proofs under a key. */
  registration: optionalField(10, bytesOf(1, LIMITS.proofBytes)),
});

export const HZP_CDDL: string = (fileCodec as Codec<TypeOf<typeof fileCodec>>).cddl;

export interface ProofFile extends Omit<ZkStatement, 'verifyingKeyHash'> {
  readonly verifyingKey: Uint8Array;
  readonly proof: Uint8Array;
  readonly registration?: Uint8Array;
}

/** @throws UsageError on sizes that no proof has */
export function encodeProofFile(file: ProofFile): Uint8Array {
  return encode(fileCodec, { format: FORMAT, version: VERSION, ...file });
}

/** Form and sizes only: what is inside is for the verifier to judge. @throws MalformedError (`hzp.*`, `cbor.*`) */
export function parseProofFile(bytes: Uint8Array): ProofFile {
  if (bytes.length > HZP_BYTES_MAX)
    throw new MalformedError('hzp.size', 'proof', `at most ${HZP_BYTES_MAX} bytes`, `${bytes.length}`);
  const { format, version, ...file } = decode(fileCodec, bytes, 'proof');
  if (format !== FORMAT)
    throw new MalformedError('hzp.format', 'proof.format', FORMAT, JSON.stringify(format));
  if (version !== VERSION)
    throw new MalformedError('hzp.version', 'proof.version', `${VERSION}`, `${version}`);
  return file;
}

/**
 * Chain, claim and nonce of a proof that is made off any chain: fixed by a text that prover and verifier agree on, e.g.
 * who asked for it and when. A proof of one context is none of another, nor of a claim on a chain.
 */
export function offChainIds(context: string): Pick<ZkStatement, 'chainId' | 'claimId' | 'nonce'> {
  const text = utf8Encode(context);
  return {
    chainId: deriveKey('haca zkml v1 off-chain chain', text),
    claimId: deriveKey('haca zkml v1 off-chain claim', text),
    nonce: deriveKey('haca zkml v1 off-chain nonce', text),
  };
}

export function isOfContext(file: ProofFile, context: string): boolean {
  const { chainId, claimId, nonce } = offChainIds(context);
  return (
    bytesEqual(file.chainId, chainId) && bytesEqual(file.claimId, claimId) && bytesEqual(file.nonce, nonce)
  );
}
