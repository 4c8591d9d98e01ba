/** The model-based cases of the light client specification, runnable wherever the light client runs. */
import {
  DEFAULT_TRUST_LEVEL,
  decodeSignedHeader,
  decodeValidator,
  type LightBlock,
  parseTimestamp,
  type TrustedState,
  trustedStateOf,
  type ValidatorSet,
  validatorSetOf,
  verifyHeader,
} from '@haca/light-client';
import type { CryptoProvider } from '@haca/primitives';

const VERDICTS = { trusted: 'SUCCESS', 'not-enough-trust': 'NOT_ENOUGH_TRUST', invalid: 'INVALID' } as const;

// The model generator spells `parts` as `part_set_header`; everything else has the shape of the RPC.
// biome-ignore lint/suspicious/noExplicitAny: recorded JSON
function signedHeaderOf(json: any) {
  const { block_id, ...commit } = json.commit;
  const parts = block_id.part_set_header;
  return decodeSignedHeader({
    header: json.header,
    commit: { ...commit, block_id: { hash: block_id.hash, parts } },
  });
}

// biome-ignore lint/suspicious/noExplicitAny: recorded JSON
function setOf(json: any): ValidatorSet {
  return validatorSetOf((json?.validators ?? []).map((each: unknown) => decodeValidator(each)));
}

/** What the light client says of each header of a case, and what was recorded. */
export function runSingleStepCase(
  crypto: CryptoProvider,
  // biome-ignore lint/suspicious/noExplicitAny: recorded JSON
  vector: any,
): { got: string[]; expected: string[]; reasons: string[] } {
  const { initial, input } = vector;
  const header = signedHeaderOf(initial.signed_header).header;
  let trusted: TrustedState = { header, nextValidators: setOf(initial.next_validator_set) };
  const options = {
    chainId: header.chainId,
    trustingPeriodNs: BigInt(initial.trusting_period),
    clockDriftNs: 0n,
    trustLevel: DEFAULT_TRUST_LEVEL,
  };
  const got: string[] = [];
  const reasons: string[] = [];
  for (const { block, now } of input) {
    const untrusted: LightBlock = {
      signedHeader: signedHeaderOf(block.signed_header),
      validators: setOf(block.validator_set),
      nextValidators: setOf(block.next_validator_set),
    };
    const result = verifyHeader(crypto, trusted, untrusted, options, parseTimestamp(now));
    got.push(VERDICTS[result.outcome]);
    reasons.push(
      result.verdict.checks
        .filter(({ status }) => status === 'failed')
        .map(({ code }) => code)
        .join(),
    );
    if (result.outcome === 'trusted') trusted = trustedStateOf(untrusted);
  }
  return { got, expected: input.map(({ verdict }: { verdict: string }) => verdict), reasons };
}
