/** Answers recorded from a real CometBFT v0.38 node: our hashes, signatures, proofs and JSON are its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  blockIdOf,
  commitHash,
  consensusParamsHash,
  dataHash,
  decodeBlock,
  decodeBlockBytes,
  decodeBlockId,
  decodeCommitBytes,
  decodeHeader,
  decodeSignedHeader,
  decodeTxProof,
  decodeValidator,
  EMPTY_HASH,
  encodeBlock,
  encodeBlockIdJson,
  encodeBlockJson,
  encodeCommit,
  encodeSignedHeaderJson,
  encodeTxProofJson,
  encodeValidatorJson,
  evidenceHash,
  headerHash,
  resultsHash,
  toUpperHex,
  txHash,
  txProofOf,
  validatorSetHash,
  validatorSetOf,
  verifyCommit,
  verifyTxProof,
} from '@haca/light-client';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { readVector, vectorsMissing } from './vector-files.ts';

const recorded = (name: string) => readVector('rpc_v0_38', `${name}.json`).result;
const skip = vectorsMissing;

/** The one recording with evidence has the member names of CometBFT v1; those of v0.38 to v0.40 are Go's. */
function withGoNames({ type, value }: { readonly type: string; readonly value: Record<string, unknown> }) {
  const { total_voting_power, validator_power, timestamp, ...votes } = value;
  const named = {
    TotalVotingPower: total_voting_power,
    ValidatorPower: validator_power,
    Timestamp: timestamp,
  };
  return { type, value: { ...votes, ...named } };
}

test('header hashes, part sets and block ids', { skip }, () => {
  const found = ['block_at_height_1', 'block_at_height_10', 'block_by_hash'].map(recorded);
  for (const { block, block_id } of [...found, ...recorded('block_search_evidence').blocks]) {
    const decoded = decodeBlock(block);
    assert.deepEqual(encodeBlockIdJson(blockIdOf(decoded)), block_id);
    const { header } = decoded;
    assert.deepEqual(commitHash(decoded.lastCommit), header.lastCommitHash);
    assert.deepEqual(dataHash(decoded.txs), header.dataHash);
    assert.deepEqual(evidenceHash(decoded.evidence), header.evidenceHash);
    const { app = '0', ...version } = block.header.version;
    const expected = {
      ...block,
      header: { ...block.header, version: { ...version, app } },
      evidence: { evidence: (block.evidence.evidence ?? []).map(withGoNames) },
    };
    assert.deepEqual(encodeBlockJson(decoded), expected);
    assert.deepEqual(decodeBlockBytes(encodeBlock(decoded)), decoded);
    assert.deepEqual(decodeCommitBytes(encodeCommit(decoded.lastCommit)), decoded.lastCommit);
  }
});

test('a run of headers, each naming its predecessor', { skip }, () => {
  const metas = recorded('blockchain_from_1_to_10').block_metas;
  assert.equal(metas.length, 10);
  for (const { header, block_id } of metas) {
    const decoded = decodeHeader(header);
    assert.equal(toUpperHex(headerHash(decoded)), block_id.hash);
    const predecessor = metas.find(
      (meta: (typeof metas)[0]) => Number(meta.header.height) === decoded.height - 1,
    );
    if (predecessor !== undefined) {
      assert.deepEqual(decodeHeader(header).lastBlockId, decodeBlockId(predecessor.block_id));
    }
  }
});

test('the validator set and its commit', { skip }, () => {
  const { signed_header } = recorded('commit_at_height_10');
  const { header, commit } = decodeSignedHeader(signed_header);
  assert.deepEqual(encodeSignedHeaderJson({ header, commit }), signed_header);
  const info = recorded('status').validator_info;
  const validators = validatorSetOf([decodeValidator(info)]);
  assert.deepEqual(validatorSetHash(validators), header.validatorsHash);
  const [validator] = validators.validators;
  assert.ok(validator !== undefined);
  assert.deepEqual(encodeValidatorJson(validator), { ...info, proposer_priority: '0' });
  const blockId = { hash: headerHash(header), parts: commit.blockId.parts };
  const expected = { chainId: 'dockerchain', height: 10, blockId, validators };
  for (const crypto of [nodeCrypto, portableCrypto]) {
    const result = verifyCommit(crypto, expected, commit);
    assert.ok(result.verdict.ok, JSON.stringify(result.verdict.checks));
    assert.equal(result.signedPower, 10n);
  }
  assert.ok(!verifyCommit(nodeCrypto, { ...expected, chainId: 'dockerchaim' }, commit).verdict.ok);
});

test('consensus parameters and results', { skip }, () => {
  const { block } = recorded('consensus_params').consensus_params;
  const { header } = decodeSignedHeader(recorded('commit_at_height_10').signed_header);
  const params = { blockMaxBytes: BigInt(block.max_bytes), blockMaxGas: BigInt(block.max_gas) };
  assert.deepEqual(consensusParamsHash(params), header.consensusHash);
  assert.deepEqual(resultsHash([]), header.lastResultsHash);
  assert.deepEqual(EMPTY_HASH, header.lastResultsHash);
});

test('transaction proofs', { skip }, () => {
  const { txs } = recorded('tx_search_with_prove');
  assert.equal(txs.length, 9);
  for (const { hash, proof: json } of txs) {
    const proof = decodeTxProof(json);
    assert.equal(toUpperHex(txHash(proof.tx)), hash);
    assert.ok(verifyTxProof({ dataHash: proof.rootHash, tx: proof.tx, proof }).ok);
    const { aunts, ...rest } = json.proof;
    assert.deepEqual(encodeTxProofJson(proof), { ...json, proof: { ...rest, aunts } });
    assert.deepEqual(txProofOf([proof.tx], 0), proof);
  }
});
