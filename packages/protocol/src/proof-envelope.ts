import { arrayOf, bytesOf, field, oneOf, struct, type TypeOf, uint } from '@haca/primitives';
import { digest32, version } from './common.ts';

/**
 * A proof about a batch of inferences, in transit. The verification layer looks at `kind` to choose a verifier and knows
 * nothing of models: for `zkml` the public inputs are the canonical request and response tensors.
 */
export const proofEnvelopeCodec = struct({
  version: field(0, version),
  kind: field(1, oneOf('zkml')),
  modelId: field(2, digest32),
  keyId: field(3, digest32),
  firstSeq: field(4, uint()),
  count: field(5, uint(1024)),
  publicInputs: field(6, arrayOf(bytesOf(0, 1 << 20), 2048)),
  proof: field(7, bytesOf(1, 1 << 20)),
});
export type ProofEnvelope = TypeOf<typeof proofEnvelopeCodec>;
