import {
  arrayOf,
  bytesOf,
  CborReader,
  CborWriter,
  concatBytes,
  decode,
  domainPrefix,
  encode,
  field,
  MalformedError,
  nullable,
  optionalField,
  type SignEd25519,
  sha256,
  struct,
  type TypeOf,
  textOf,
  uint,
  union,
  variant,
} from '@haca/primitives';
import { collateralCodec } from './collateral.ts';
import {
  accountKeyCodec,
  chainIdCodec,
  digest32,
  heightCodec,
  methodCodec,
  signature64,
  version,
} from './common.ts';
import { decreeActionCodec, decreeSignatureCodec } from './decree.ts';
import { modelManifestCodec } from './model.ts';
import { RECEIPT_MAX_BYTES } from './receipt.ts';
import { RECEIPT_PROOF_MAX_BYTES } from './receipt-proof.ts';
import {
  EVIDENCE_MAX_BYTES,
  evidenceEnvelopeCodec,
  GPUS_MAX,
  registrationBindingCodec,
} from './registration.ts';
import { CHARGE_LINES_MAX, STATEMENT_MAX_BYTES } from './statement.ts';
import { ASSET_ID_MAX, creditCodec, nopgCodec } from './units.ts';
import { consensusAddressCodec, VALIDATORS_MAX } from './validator.ts';
import { SESSIONS_PER_CHANNEL, VOUCHER_MAX_BYTES } from './voucher.ts';
import {
  VERIFYING_KEY_MAX_BYTES,
  ZK_BATCH_MAX,
  ZK_PROOF_MAX_BYTES,
  ZK_SALT_BYTES,
  ZK_TENSORS_MAX,
} from './zk-limits.ts';

/** A proof with the tensors and receipts of its claim is the largest there is. */
export const TRANSACTION_MAX_BYTES = 1_000_000;
export const OPS_MAX = 16;
export const COLLATERAL_ITEMS_MAX = 4;

/** Most gas a proof may declare. */
const VERIFICATION_GAS_MAX = 1_000_000_000;

const assetId = uint(ASSET_ID_MAX);
const vouchersCodec = arrayOf(bytesOf(1, VOUCHER_MAX_BYTES), CHARGE_LINES_MAX);
/** Per charge line the receipt proofs that show its first and its last receipt: one where they are the same. */
const lineReceiptsCodec = arrayOf(arrayOf(bytesOf(1, RECEIPT_PROOF_MAX_BYTES), 2), CHARGE_LINES_MAX);
const sessionIndex = uint(SESSIONS_PER_CHANNEL - 1);

/**
 * Everything a transaction can do. Tags are grouped by area and never change meaning; reserved: 80 challenge, 81
 * answer, 82 evidence.
 */
export const opCodec = union({
  'transfer-opg': variant(1, struct({ to: field(0, digest32), amount: field(1, nopgCodec) })),
  'transfer-credit': variant(
    2,
    struct({ to: field(0, digest32), asset: field(1, assetId), amount: field(2, creditCodec) }),
  ),
  /** By the asset's issuer only: new units against money held outside, e.g. a faucet or a bridge. */
  issue: variant(
    3,
    struct({ to: field(0, digest32), asset: field(1, assetId), amount: field(2, creditCodec) }),
  ),
  /** Burns the signer's own liquid units. */
  retire: variant(4, struct({ asset: field(0, assetId), amount: field(1, creditCodec) })),

  'open-channel': variant(16, struct({ asset: field(0, assetId), amount: field(1, creditCodec) })),
  deposit: variant(17, struct({ channelId: field(0, digest32), amount: field(1, creditCodec) })),
  'register-session': variant(
    18,
    struct({
      channelId: field(0, digest32),
      session: field(1, sessionIndex),
      publicKey: field(2, bytesOf(32)),
      expiryHeight: field(3, heightCodec),
    }),
  ),
  'revoke-session': variant(19, struct({ channelId: field(0, digest32), session: field(1, sessionIndex) })),
  allocate: variant(
    20,
    struct({ channelId: field(0, digest32), nodeId: field(1, digest32), amount: field(2, creditCodec) }),
  ),
  /** The operator's signature over `releaseMessage` frees the money at once, without the withdrawal timer. */
  release: variant(
    21,
    struct({
      channelId: field(0, digest32),
      nodeId: field(1, digest32),
      amount: field(2, creditCodec),
      allocationVersion: field(3, uint()),
      expiry: field(4, heightCodec),
      operatorSignature: field(5, signature64),
    }),
  ),
  'request-withdraw': variant(
    22,
    struct({ channelId: field(0, digest32), nodeId: field(1, digest32), amount: field(2, creditCodec) }),
  ),
  /** By anyone; a no-op where somebody else was first. */
  'finalize-withdraw': variant(23, struct({ channelId: field(0, digest32), nodeId: field(1, digest32) })),
  'withdraw-free': variant(24, struct({ channelId: field(0, digest32), amount: field(1, creditCodec) })),
  'close-channel': variant(25, struct({ channelId: field(0, digest32) })),

  /** By anyone. A model of method `zk` brings its verifying key, unless the chain has it from another model. */
  'register-model': variant(
    32,
    struct({
      manifest: field(0, modelManifestCodec),
      zk: optionalField(
        1,
        struct({
          verifyingKey: field(0, bytesOf(1, VERIFYING_KEY_MAX_BYTES)),
          /** Shows that the weights behind the key's commitment lie in their intervals. */
          registrationProof: field(1, nullable(bytesOf(1, ZK_PROOF_MAX_BYTES))),
          /** The sender's node whose bucket pays for it (class S); null: class G. */
          nodeId: field(2, nullable(digest32)),
          /** What checking key and proof costs, part of the transaction's gas; at least `zkKeyGas`. */
          verificationGas: field(3, uint(VERIFICATION_GAS_MAX)),
        }),
      ),
    }),
  ),
  'register-node': variant(
    33,
    struct({
      name: field(0, textOf(1, 64)),
      /** Base URL of the API, e.g. `https://node.example`. */
      endpoint: field(1, textOf(1, 256)),
      payout: field(2, digest32),
      bond: field(3, nopgCodec),
    }),
  ),
  'update-node': variant(
    34,
    struct({
      nodeId: field(0, digest32),
      name: field(1, textOf(1, 64)),
      endpoint: field(2, textOf(1, 256)),
      payout: field(3, digest32),
    }),
  ),
  'bond-node': variant(35, struct({ nodeId: field(0, digest32), amount: field(1, nopgCodec) })),
  'unbond-node': variant(36, struct({ nodeId: field(0, digest32), amount: field(1, nopgCodec) })),

  'open-key': variant(
    48,
    struct({
      binding: field(0, registrationBindingCodec),
      method: field(1, methodCodec),
      /** The one model of a `zk` key; null otherwise. */
      modelId: field(2, nullable(digest32)),
      /** The models it may serve, ascending; their root is in the binding. */
      modelIds: field(3, arrayOf(digest32, 64, 1)),
      evidence: field(4, nullable(evidenceEnvelopeCodec)),
      /** By the new key over `possessionMessage`. */
      possession: field(5, signature64),
      /** Documents of kind `nvidia`, one a GPU; their root is in the binding. Absent where there is none. */
      gpuEvidence: optionalField(6, arrayOf(bytesOf(1, EVIDENCE_MAX_BYTES), GPUS_MAX, 1)),
    }),
  ),
  'close-key': variant(49, struct({ keyId: field(0, digest32) })),
  'abandon-key': variant(50, struct({ keyId: field(0, digest32) })),

  settle: variant(
    64,
    struct({
      statement: field(0, bytesOf(1, STATEMENT_MAX_BYTES + 128)),
      /** One signed voucher per charge line, in the same order. */
      vouchers: field(1, vouchersCodec),
      /** Of a `zk` key, and of no other: for each charge line the receipts at its ends. */
      receipts: optionalField(2, lineReceiptsCodec),
    }),
  ),
  /**
   * The proof of a claim, with all it is about: row b of each tensor, salt b and receipt b are those of receipt `firstSeq + b`.
   */
  prove: variant(
    66,
    struct({
      claimId: field(0, digest32),
      salts: field(1, arrayOf(bytesOf(ZK_SALT_BYTES), ZK_BATCH_MAX, 1)),
      /** One byte string per public tensor in the key's order: its rows one after the other, unpadded. */
      inputs: field(2, arrayOf(bytesOf(1, TRANSACTION_MAX_BYTES), ZK_TENSORS_MAX, 1)),
      outputs: field(3, arrayOf(bytesOf(1, TRANSACTION_MAX_BYTES), ZK_TENSORS_MAX, 1)),
      /** Payloads of the receipts, without their signatures: the statement signed their hashes. */
      receipts: field(4, arrayOf(bytesOf(1, RECEIPT_MAX_BYTES), ZK_BATCH_MAX, 1)),
      proof: field(5, bytesOf(1, ZK_PROOF_MAX_BYTES)),
      /** What verifying costs, part of the transaction's gas; at least what the claim's record says. */
      verificationGas: field(6, uint(VERIFICATION_GAS_MAX)),
      /** A statement without batch whose charge lines are paid once the proof holds. */
      redeem: field(
        7,
        nullable(
          struct({
            statement: field(0, bytesOf(1, STATEMENT_MAX_BYTES + 128)),
            vouchers: field(1, vouchersCodec),
            /** As in `settle`; receipts of the claim itself need no proof. */
            receipts: field(2, lineReceiptsCodec),
          }),
        ),
      ),
    }),
  ),

  /** By anyone who has the signatures. */
  decree: variant(
    96,
    struct({
      /** One above that of the last decree. */
      serial: field(0, uint()),
      action: field(1, decreeActionCodec),
      /** Of validators with more than two thirds of the voting power, ascending by address. */
      signatures: field(2, arrayOf(decreeSignatureCodec, VALIDATORS_MAX, 1)),
    }),
  ),
  /** By anybody: what vendors signed about their platforms, each piece newer than what the chain has. */
  'post-collateral': variant(
    97,
    struct({ items: field(0, arrayOf(collateralCodec, COLLATERAL_ITEMS_MAX, 1)) }),
  ),

  /** The sender becomes its operator. */
  'register-validator': variant(
    112,
    struct({
      /** Ed25519 key that votes, never registered before. */
      consensusKey: field(0, bytesOf(32)),
      bond: field(1, nopgCodec),
      /** By the consensus key over `validatorPossessionMessage`. */
      possession: field(2, signature64),
    }),
  ),
  /** Adds to a bond. A validator that has left comes back by bonding the minimum again. */
  'bond-validator': variant(
    113,
    struct({ validator: field(0, consensusAddressCodec), amount: field(1, nopgCodec) }),
  ),
  /** Part of a bond, or all of it: then the validator leaves. */
  'unbond-validator': variant(
    114,
    struct({ validator: field(0, consensusAddressCodec), amount: field(1, nopgCodec) }),
  ),
  'claim-rewards': variant(115, struct({ validator: field(0, consensusAddressCodec) })),
});
export type Op = TypeOf<typeof opCodec>;
export type OpKind = Op['kind'];
export type OpOf<K extends OpKind> = Extract<Op, { readonly kind: K }>;

export const transactionBodyCodec = struct({
  version: field(0, version),
  chainId: field(1, chainIdCodec),
  sender: field(2, accountKeyCodec),
  /** Unique in the account's window of 64; order does not matter. */
  nonce: field(3, uint()),
  /** Last height at which it may be included. */
  validUntil: field(4, heightCodec),
  /** Most that is paid per unit of verification gas, base fee and tip together; nopg. */
  maxFee: field(5, nopgCodec),
  tipCap: field(6, nopgCodec),
  /** Pays the fee instead of the sender, and signs too. */
  feePayer: field(7, nullable(accountKeyCodec)),
  /** Applied in order, all or none. */
  ops: field(8, arrayOf(opCodec, OPS_MAX, 1)),
});
export type TransactionBody = TypeOf<typeof transactionBodyCodec>;

export interface Transaction {
  readonly body: TransactionBody;
  readonly bodyBytes: Uint8Array;
  readonly signature: Uint8Array;
  readonly feePayerSignature: Uint8Array | null;
  /** All bytes as they came. */
  readonly bytes: Uint8Array;
}

/** What sender and fee payer sign. */
export function transactionMessage(bodyBytes: Uint8Array): Uint8Array {
  return concatBytes(domainPrefix('haca/transaction/1'), bodyBytes);
}

export function signTransaction(
  body: TransactionBody,
  sign: SignEd25519,
  signAsFeePayer: SignEd25519 | null = null,
): Transaction {
  const bodyBytes = encode(transactionBodyCodec, body);
  const message = transactionMessage(bodyBytes);
  return decodeTransaction(
    encodeTransactionParts(bodyBytes, sign(message), signAsFeePayer?.(message) ?? null),
  );
}

function encodeTransactionParts(
  body: Uint8Array,
  signature: Uint8Array,
  feePayer: Uint8Array | null,
): Uint8Array {
  const writer = new CborWriter(body.length + 160);
  writer.arrayHead(3);
  writer.bytes(body);
  writer.bytes(signature);
  if (feePayer === null) writer.null();
  else writer.bytes(feePayer);
  return writer.finish();
}

/** Throws `MalformedError` on anything but the one canonical form. Verifies no signature. */
export function decodeTransaction(bytes: Uint8Array): Transaction {
  if (bytes.length > TRANSACTION_MAX_BYTES) {
    throw new MalformedError('tx.size', 'tx', `at most ${TRANSACTION_MAX_BYTES} bytes`, `${bytes.length}`);
  }
  const reader = new CborReader(bytes);
  reader.enter('tx');
  reader.openArray(3, 3);
  const bodyBytes = reader.bytes(1, TRANSACTION_MAX_BYTES);
  const signature = reader.bytes(64, 64);
  const feePayerSignature = reader.takeNull() ? null : reader.bytes(64, 64);
  reader.close();
  reader.end();
  const body = decode(transactionBodyCodec, bodyBytes, 'tx');
  if ((body.feePayer === null) !== (feePayerSignature === null)) {
    throw new MalformedError(
      'tx.fee-payer',
      'tx',
      'a fee payer and its signature, or neither',
      'one of the two',
    );
  }
  return { body, bodyBytes, signature, feePayerSignature, bytes };
}

/** CometBFT's name of a transaction: SHA-256 of its bytes. */
export function transactionHash(bytes: Uint8Array): Uint8Array {
  return sha256(bytes);
}

const releaseCodec = struct({
  chainId: field(0, chainIdCodec),
  channelId: field(1, digest32),
  nodeId: field(2, digest32),
  amount: field(3, creditCodec),
  allocationVersion: field(4, uint()),
  expiry: field(5, heightCodec),
});

/** What the operator signs to let allocated money go. */
export function releaseMessage(release: TypeOf<typeof releaseCodec>): Uint8Array {
  return concatBytes(domainPrefix('haca/release/1'), encode(releaseCodec, release));
}
