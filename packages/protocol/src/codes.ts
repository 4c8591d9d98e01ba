/**
 * Every reason a transaction, request or object is refused, one line each. Numbers go into block results and never change
 * meaning; new codes take new numbers.
 */
const CODES = {
  OK: [0, 'Applied.'],
  // What any transaction can fail with (1-99).
  E_MALFORMED: [1, 'The bytes are not a canonical encoding of a known object. Fix the encoder.'],
  E_TOO_LARGE: [2, 'Larger than the limit for its kind. Split it.'],
  E_CHAIN: [3, 'Made for another chain id.'],
  E_SIG: [4, 'A signature does not verify under the key it must.'],
  E_NONCE: [5, 'The nonce was used, or is more than 64 behind the newest. Take a fresh one.'],
  E_EXPIRED: [6, 'validUntil lies in the past. Sign again.'],
  E_VALID_UNTIL: [7, 'validUntil lies further ahead than the chain accepts.'],
  E_FEE: [8, 'maxFee is below the base fee. Raise it or wait.'],
  E_BALANCE: [9, 'The payer has not enough for amount and fee.'],
  E_EXISTENTIAL: [10, 'It would leave an account below the existential minimum.'],
  E_OVERFLOW: [11, 'A sum leaves its range.'],
  E_CLASS: [12, 'The block has no room left for this class of transaction, or classes are mixed in one.'],
  E_BUCKET: [13, 'The node used up its verification gas for now. It refills every block.'],
  E_SENDER: [14, 'Only the owner may do this, and the sender is somebody else.'],
  E_UNKNOWN_ACCOUNT: [15, 'No such account.'],
  E_AMOUNT: [16, 'The amount is zero or below the minimum.'],
  E_UNSUPPORTED: [17, 'The kind is reserved and not part of this version.'],
  E_INTERNAL: [18, 'The state machine met a case it should not have; nothing was applied. Report it.'],
  // Assets and channels (100-199).
  E_ASSET: [100, 'No such fee asset, or the sender is not its issuer.'],
  E_CHANNEL: [101, 'No such channel, or it exists already.'],
  E_SESSION: [102, 'No such session key, or it is expired, revoked or out of slots.'],
  E_ALLOCATION: [103, 'No such allocation, or too many.'],
  E_VERSION: [104, 'Signed for an older version of the allocation.'],
  E_WITHDRAW: [105, 'Not withdrawable: more than is unpaid, or the timer still runs.'],
  E_NOT_EMPTY: [106, 'The channel still holds money or allocations.'],
  // Models, nodes and keys (200-299).
  E_MODEL: [200, 'No such model, or it is registered already.'],
  E_NODE: [201, 'No such node, or it is registered already.'],
  E_BOND: [202, 'The bond is below the minimum, or more than is there.'],
  E_KEY: [203, 'No such node key, or its state does not allow this.'],
  E_KEY_PRUNED: [204, 'The node key is drained: nothing can be redeemed on it any more.'],
  E_EPOCH: [205, 'The key epoch is not above all earlier ones of the node.'],
  E_EVIDENCE: [206, 'The attestation evidence was appraised and refused.'],
  E_FRESHNESS: [207, 'It names a block that is unknown or too old.'],
  E_MEASUREMENT: [208, 'The measurement is not approved, or was revoked.'],
  E_DISABLED: [209, 'This proof kind is disabled.'],
  E_METHOD: [210, 'The model or key does not allow this method.'],
  E_VALIDATOR: [211, 'No such validator, it double signed, or its consensus key was registered before.'],
  E_VALIDATOR_SET: [212, 'The validator set is full, or would be left without a validator.'],
  E_VERIFYING_KEY: [213, 'The verifying key is missing, malformed, breaks a rule or is above a limit.'],
  E_REGISTRATION_PROOF: [214, 'The registration proof of the weights is missing, or does not hold.'],
  E_COLLATERAL: [
    215,
    'The collateral was appraised and refused, is not current, or is not newer than what the chain has.',
  ],
  E_HARDWARE: [216, 'The chip serves another operator or node, or was revoked.'],
  // Settlement (300-399).
  E_SEQ: [
    300,
    'The batch does not continue exactly where the key was settled: replay, gap or other predecessor.',
  ],
  E_SUM: [301, 'Totals fall, leave their range, or are less than what is to be paid.'],
  E_NOT_VERIFIED: [302, 'The receipts are not all settled and verified.'],
  E_ALREADY_PAID: [303, 'This part of the lane was paid before.'],
  E_LEAF: [304, 'A receipt proof does not show what the charge line says.'],
  E_VOUCHER: [305, 'The voucher is missing, malformed, expired, too low or not of this lane.'],
  E_UNDERFUNDED: [306, 'The allocation does not cover the amount.'],
  E_LANES: [307, 'The node has as many lanes as its bond allows.'],
  E_CLAIMS: [308, 'Too many open claims, or a batch larger than the verifying key allows.'],
  E_COUNT: [309, 'Vouchers and charge lines do not match one to one.'],
  E_CLAIM: [310, 'No such open claim, or its deadline has passed.'],
  E_BINDING: [
    311,
    'Salts, tensors or receipts are not those the claim was settled for. The claim stays open.',
  ],
  E_PROOF: [312, 'The proof was verified and does not hold. It costs the node part of its bond.'],
  E_PROOF_GAS: [
    313,
    'The transaction declares less verification gas than its proof costs. Nothing was verified.',
  ],
  // What an inference node answers (400-499).
  E_VOUCHER_REQUIRED: [400, 'The request carries no voucher. The answer names what one must contain.'],
  E_INSUFFICIENT: [401, 'The allocation at this node does not cover the maximum charge of the request.'],
  E_RESERVE: [402, 'The voucher does not raise the lane by exactly the maximum charge of the request.'],
  E_LANE_BUSY: [403, 'Another request is running on this lane. Use another lane.'],
  E_IDEMPOTENCY: [404, 'The voucher was used with another request.'],
  E_REQUEST_HASH: [405, 'The voucher names another request.'],
  E_HEAD_STALE: [406, 'The node has not seen a recent block and takes no new work.'],
  E_UNAVAILABLE: [407, 'The node can not keep a promise now (disk, key or engine) and takes no new work.'],
  E_MODEL_UNKNOWN: [408, 'The node does not serve this model.'],
  E_REQUEST: [409, 'The request body is not what the API expects.'],
  E_ENGINE: [410, 'The engine failed before it answered. Nothing was charged.'],
  E_RECEIPT_UNKNOWN: [411, 'No receipt with this id is kept here.'],
  E_SEALED: [
    412,
    "The sealed body can not be opened; nothing was run for it. Seal to the key in the node's newest key record.",
  ],
  E_BUSY: [413, 'The node starts, or has too much to do, and did not look at the request. Send it again.'],
  // Decrees (500-599).
  E_DECREE: [
    500,
    'The decree changes nothing, is not the next one, or lacks signatures of as much power as it takes.',
  ],
} as const satisfies Readonly<Record<string, readonly [number, string]>>;

export type ErrorCode = keyof typeof CODES;

export const ERROR_CODES = Object.keys(CODES) as readonly ErrorCode[];

export function codeNumber(code: ErrorCode): number {
  return CODES[code][0];
}

/** What the code means and whose move it is, in one line. */
export function codeText(code: ErrorCode): string {
  return CODES[code][1];
}

const BY_NUMBER = new Map<number, ErrorCode>(ERROR_CODES.map((code) => [CODES[code][0], code]));

export function codeOfNumber(number: number): ErrorCode | undefined {
  return BY_NUMBER.get(number);
}
