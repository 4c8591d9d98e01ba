import { bytesEqual, merkleLeafHash, toHex, verifyMerkleInclusion } from '@haca/primitives';
import { check, type Verdict, verdictOf } from '@haca/protocol';
import { type TxProof, txHash } from './cometbft/hashing.ts';

export interface TxStatement {
  /** The `dataHash` of a trusted header. */
  readonly dataHash: Uint8Array;
  readonly tx: Uint8Array;
  readonly proof: TxProof;
}

/**
 * Verifies that a block holds a transaction. Not where: a Merkle root does not say over how many leaves it is, so index and
 * total are only shown to be possible together with this path.
 */
export function verifyTxProof({ dataHash, tx, proof }: TxStatement): Verdict {
  const leaf = merkleLeafHash(txHash(tx));
  const isTx = bytesEqual(proof.tx, tx) && bytesEqual(proof.leafHash, leaf);
  const isRoot = bytesEqual(proof.rootHash, dataHash);
  const isIncluded = verifyMerkleInclusion(leaf, proof.index, proof.total, proof.aunts, dataHash);
  return verdictOf([
    check('tx.leaf', 'tx.leaf-mismatch', isTx, toHex(leaf), toHex(proof.leafHash)),
    check('tx.root', 'tx.root-mismatch', isRoot, toHex(dataHash), toHex(proof.rootHash)),
    check(
      'tx.inclusion',
      'tx.inclusion-invalid',
      isIncluded,
      `a leaf under ${toHex(dataHash)}`,
      isIncluded ? 'included' : `${proof.aunts.length} hashes that lead elsewhere`,
    ),
  ]);
}
