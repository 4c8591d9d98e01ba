/** A proof file that stands for itself: what the caller expects of it, then the proof, then the proof about its weights. */
import { isOfContext, type ProofFile, verifyingKeyHash } from '@haca/circuit';
import { bytesEqual, toHex } from '@haca/primitives';
import type { ZkKernels } from '@haca/primitives/zk';
import { check, joinVerdicts, skipped, type Verdict, verdictOf } from '@haca/protocol';
import { verifyZkProof, verifyZkRegistration } from './verify.ts';

export interface ProofFileExpectation {
  /** The hash of the key that the caller trusts; null: none, and then nothing says which model this is. */
  readonly verifyingKeyHash: Uint8Array | null;
  /** The text that prover and verifier agreed on. */
  readonly context: string;
  readonly kernels?: ZkKernels;
}

/** Total: a file that was parsed gives a verdict, whatever is in it. */
export function verifyProofFile(file: ProofFile, expectation: ProofFileExpectation): Verdict {
  const { verifyingKey, proof, registration, batchSize, inputs, outputs, chainId, claimId, nonce } = file;
  const { context, kernels } = expectation;
  const hash = verifyingKeyHash(verifyingKey);
  const wanted = expectation.verifyingKeyHash;
  const key =
    wanted === null
      ? skipped('statement.key', 'E_NOT_PINNED', 'no model or key hash was given to hold the key against')
      : check('statement.key', 'E_KEY', bytesEqual(hash, wanted), toHex(wanted), toHex(hash));
  const text = JSON.stringify(context);
  const isOurs = isOfContext(file, context);
  const own = verdictOf([
    key,
    check('statement.context', 'E_CONTEXT', isOurs, text, isOurs ? text : 'another'),
  ]);
  if (own.checks.some(({ status }) => status === 'failed')) {
    const rest = skipped('zk.proof', 'E_NOT_REACHED', 'a proof of something else was not looked at');
    return verdictOf([...own.checks, rest]);
  }
  const faster = kernels === undefined ? {} : { kernels };
  // Chain, claim and nonce are those of the caller's context: that they are the file's own was just checked.
  const statement = { chainId, claimId, nonce, verifyingKeyHash: hash, batchSize, inputs, outputs };
  return joinVerdicts([
    ['', own],
    ['', verifyZkProof({ verifyingKey, statement, proof, ...faster })],
    ['weights', weightsVerdict(verifyingKey, registration, faster)],
  ]);
}

function weightsVerdict(
  verifyingKey: Uint8Array,
  proof: Uint8Array | undefined,
  faster: { readonly kernels?: ZkKernels },
): Verdict {
  if (proof !== undefined) return verifyZkRegistration({ verifyingKey, proof, ...faster });
  const reason = 'the file does not prove that the weights are small integers';
  return verdictOf([skipped('registration', 'E_NOT_PROVED', reason)]);
}
