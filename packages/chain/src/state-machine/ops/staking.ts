/** Validators: registering, bonding, unbonding, rewards. All of it is the operator's alone. */
import { bytesEqual } from '@haca/primitives';
import {
  nopg,
  type OpOf,
  UNBONDING_ENTRIES_MAX,
  VALIDATORS_MAX,
  type ValidatorRecord,
  validatorPossessionMessage,
} from '@haca/protocol';
import { beginValidatorUnbonding, bondValidator, claimRewards } from '../opg-ledger.ts';
import { schedule } from '../queue.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { accounts, validators } from '../tables.ts';
import {
  consensusAddress,
  earnedPower,
  isReplaceable,
  powerOf,
  takeSeat,
  validatorBondFloor,
} from '../validators.ts';
import type { Outcome, Step } from './step.ts';

export function applyRegisterValidator(step: Step, op: OpOf<'register-validator'>): Outcome {
  const { state, sender } = step;
  const { chainId, params } = step.ctx.config;
  const { consensusKey, bond } = op;
  const address = consensusAddress(consensusKey);
  if (validators.get(state, address) !== undefined) {
    return refuse('E_VALIDATOR', 'a consensus key never registered before', 'a known one');
  }
  const floor = validatorBondFloor(params);
  if (bond < floor) return refuse('E_BOND', `at least ${floor} nopg`, bond);
  const liquid = accounts.get(state, sender)?.nopg ?? 0n;
  if (bond > liquid) return refuse('E_BALANCE', `at most ${liquid} nopg`, bond);
  const message = validatorPossessionMessage({ chainId, operator: sender, consensusKey });
  if (!step.ctx.crypto.verifyEd25519(consensusKey, message, op.possession)) {
    return refuse('E_SIG', 'possession signed by the consensus key', 'another signature');
  }
  if (!takeSeat(state, address, VALIDATORS_MAX)) return noSeat();
  validators.put(
    state,
    { consensusKey, operator: sender, selfBond: nopg(0n), power: 0, rewards: nopg(0n), unbondingDue: [] },
    address,
  );
  bondValidator(state, address, bond);
  step.restake();
  step.emit('validator', { action: 'register', validator: address, consensusKey, operator: sender, bond });
  return undefined;
}

export function applyBondValidator(step: Step, op: OpOf<'bond-validator'>): Outcome {
  const validator = ownValidator(step, op.validator);
  if ('code' in validator) return validator;
  if (validator.tombstoned === true) return refuse('E_VALIDATOR', 'one that never double signed', 'another');
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  const liquid = accounts.get(step.state, step.sender)?.nopg ?? 0n;
  if (op.amount > liquid) return refuse('E_BALANCE', `at most ${liquid} nopg`, op.amount);
  const bond = validator.selfBond + op.amount;
  const floor = validatorBondFloor(step.ctx.config.params);
  if (bond < floor) return refuse('E_BOND', `at least ${floor} nopg in all`, bond);
  if (!takeSeat(step.state, op.validator, VALIDATORS_MAX)) return noSeat();
  bondValidator(step.state, op.validator, op.amount);
  if (powerOf(bond) !== powerOf(validator.selfBond)) step.restake();
  step.emit('validator', { action: 'bond', validator: op.validator, amount: op.amount });
  return undefined;
}

/** Starts the unbonding time. With all of its bond the validator leaves, and its voting power ends two blocks later. */
export function applyUnbondValidator(step: Step, op: OpOf<'unbond-validator'>): Outcome {
  const validator = ownValidator(step, op.validator);
  if ('code' in validator) return validator;
  const refusal = checkUnbonding(step, op, validator);
  if (refusal !== undefined) return refusal;
  const { height, timeMs } = step.block;
  const due = height + step.ctx.config.params.unbondingTime;
  if (!validator.unbondingDue.includes(due)) {
    if (validator.unbondingDue.length >= UNBONDING_ENTRIES_MAX) {
      const entries = validator.unbondingDue.length + 1;
      return refuse('E_BOND', `at most ${UNBONDING_ENTRIES_MAX} entries at a time`, entries);
    }
    const unbondingDue = [...validator.unbondingDue, due];
    validators.put(step.state, { ...validator, unbondingDue }, op.validator);
    const subject = validator.consensusKey;
    schedule(step.state, due, { task: 'mature-validator-unbonding', subject, due });
  }
  beginValidatorUnbonding(step.state, op.validator, op.amount, due, { height, timeMs });
  if (powerOf(validator.selfBond - op.amount) !== powerOf(validator.selfBond)) step.restake();
  step.emit('validator', { action: 'unbond', validator: op.validator, amount: op.amount, due });
  return undefined;
}

function checkUnbonding(step: Step, op: OpOf<'unbond-validator'>, validator: ValidatorRecord): Outcome {
  const { selfBond, power } = validator;
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > selfBond) return refuse('E_BOND', `at most ${selfBond} nopg`, op.amount);
  const rest = selfBond - op.amount;
  const floor = validatorBondFloor(step.ctx.config.params);
  if (rest > 0n && rest < floor) return refuse('E_BOND', `all of it, or ${floor} nopg left`, rest);
  const hasPower = power > 0 || earnedPower(validator) > 0;
  return rest === 0n && hasPower && !isReplaceable(step.state, op.validator)
    ? refuse('E_VALIDATOR_SET', 'another validator before the last one leaves', 'none')
    : undefined;
}

export function applyClaimRewards(step: Step, op: OpOf<'claim-rewards'>): Outcome {
  const validator = ownValidator(step, op.validator);
  if ('code' in validator) return validator;
  if (validator.rewards === 0n) return refuse('E_AMOUNT', 'rewards to claim', 0);
  const amount = claimRewards(step.state, op.validator);
  step.emit('validator', { action: 'claim', validator: op.validator, operator: step.sender, amount });
  return undefined;
}

function ownValidator(step: Step, address: Uint8Array): ValidatorRecord | Refusal {
  const validator = validators.get(step.state, address);
  if (validator === undefined) return refuse('E_VALIDATOR', 'a validator', 'none');
  return bytesEqual(validator.operator, step.sender)
    ? validator
    : refuse('E_SENDER', "the validator's operator", 'another account');
}

function noSeat(): Refusal {
  return refuse('E_VALIDATOR_SET', `at most ${VALIDATORS_MAX} validators`, VALIDATORS_MAX + 1);
}
