/** Decrees: what validators with more than two thirds of the power decide together. */
import { compareBytes } from '@haca/primitives';
import { type DecreeAction, decreeMessage, type OpOf, type ProofKind } from '@haca/protocol';
import { isKindDisabled } from '../governance.ts';
import { refuse } from '../refusal.ts';
import { governanceOf, putGovernance, validatorSetOf, validators } from '../tables.ts';
import type { Outcome, Step } from './step.ts';

export function applyDecree(step: Step, op: OpOf<'decree'>): Outcome {
  const { state } = step;
  const { serial, action } = op;
  const known = governanceOf(state) ?? { serial: 0, disabledKinds: [] };
  if (serial !== known.serial + 1) return refuse('E_DECREE', `decree ${known.serial + 1}`, serial);
  const { proofKind } = action;
  const isDisabled = action.kind === 'disable-proof-kind';
  if (isKindDisabled(state, proofKind) === isDisabled) {
    return refuse('E_DECREE', 'a change', `${proofKind} is ${isDisabled ? 'disabled' : 'enabled'} already`);
  }
  const refusal = checkSignatures(step, op);
  if (refusal !== undefined) return refusal;
  putGovernance(state, { serial, disabledKinds: changed(known.disabledKinds, action) });
  step.emit('decree', { serial, action: action.kind, proofKind });
  return undefined;
}

function changed(disabled: readonly ProofKind[], { kind, proofKind }: DecreeAction): readonly ProofKind[] {
  const others = disabled.filter((other) => other !== proofKind);
  return kind === 'disable-proof-kind' ? [...others, proofKind] : others;
}

/** Each signer once, each with power, and together more than two thirds of all power there is. */
function checkSignatures(step: Step, { serial, action, signatures }: OpOf<'decree'>): Outcome {
  const { state, ctx } = step;
  const message = decreeMessage({ chainId: ctx.config.chainId, serial, action });
  let signed = 0;
  let previous: Uint8Array | undefined;
  for (const { validator: address, signature } of signatures) {
    if (previous !== undefined && compareBytes(previous, address) >= 0) {
      return refuse('E_DECREE', 'signatures in ascending order of validators', 'another order');
    }
    previous = address;
    const validator = validators.get(state, address);
    if (validator === undefined || validator.power === 0)
      return refuse('E_VALIDATOR', 'a validator with power', 'another');
    if (!ctx.crypto.verifyEd25519(validator.consensusKey, message, signature)) {
      return refuse('E_SIG', "the validator's signature over the decree", 'another');
    }
    signed += validator.power;
  }
  const all = validatorSetOf(state).members.reduce(
    (sum, { address }) => sum + (validators.get(state, address)?.power ?? 0),
    0,
  );
  return 3 * signed > 2 * all
    ? undefined
    : refuse('E_DECREE', `more than two thirds of ${all} units of power`, signed);
}
