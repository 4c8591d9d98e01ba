/** The first state, out of a genesis document. Every node derives the same bytes. */
import { MalformedError, toHex, UsageError } from '@haca/primitives';
import {
  type AppGenesis,
  type AssetRecord,
  credit,
  LIVE_MEASUREMENTS_MAX,
  measurementIdOf,
  nopg,
  OPG_SUPPLY_NOPG,
  tableOf,
  VALIDATORS_MAX,
  validateParams,
} from '@haca/protocol';
import { decodeRecordValue } from './invariants.ts';
import { addMeasurement } from './measurements.ts';
import { openState, type State } from './state.ts';
import {
  accounts,
  assets,
  NEW_ACCOUNT,
  putChainConfig,
  putTotals,
  putValidatorSet,
  validators,
} from './tables.ts';
import type { Change, StateView, ValidatorUpdate } from './types.ts';
import { consensusAddress, powerOf } from './validators.ts';

const ASSETS_MAX = 8;
const EMPTY_VIEW: StateView = { get: () => undefined };

export interface GenesisState {
  /** Sorted bytewise by key. */
  readonly changes: readonly Change[];
  readonly validators: readonly ValidatorUpdate[];
}

/**
 * Throws `UsageError` naming what is wrong: a supply that is not exactly 10^9 OPG, entries twice, a bond below the minimum,
 * parameters that contradict each other.
 */
export function applyGenesis(genesis: AppGenesis, chainId: string, genesisTimeMs: number): GenesisState {
  validateParams(genesis.params);
  checkSupply(genesis);
  const state = openState(EMPTY_VIEW, false);
  putChainConfig(state, {
    chainId,
    genesisTimeMs,
    simulated: genesis.simulated,
    params: genesis.params,
    testRoots: genesis.testRoots,
  });
  requireUnique(
    'account',
    genesis.accounts.map(({ accountId }) => toHex(accountId)),
  );
  for (const { accountId, nopg: amount } of genesis.accounts) {
    accounts.put(state, { ...NEW_ACCOUNT, nopg: nopg(amount) }, accountId);
  }
  putMeasurements(state, genesis);
  putAssets(state, genesis);
  putTotals(state, firstTotals(genesis));
  const updates = putValidators(state, genesis);
  const changes = state.changes();
  for (const [key, value] of changes) requireReadable(key, value);
  return { validators: updates, changes };
}

/** Text limits count bytes: what JSON let through may still not fit its record. */
function requireReadable(key: Uint8Array, value: Uint8Array | null): void {
  try {
    decodeRecordValue(key, value ?? new Uint8Array(0));
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new UsageError(`genesis does not fit the ${tableOf(key) ?? ''} records: ${error.message}`);
  }
}

function checkSupply({ reserveNopg, accounts: funded, validators: bonded }: AppGenesis): void {
  const sum =
    reserveNopg +
    funded.reduce((total, account) => total + account.nopg, 0n) +
    bonded.reduce((total, validator) => total + validator.selfBond, 0n);
  if (sum !== OPG_SUPPLY_NOPG) {
    throw new UsageError(`genesis gives out ${sum} nopg; the supply is exactly ${OPG_SUPPLY_NOPG}`);
  }
}

function firstTotals({
  params,
  reserveNopg,
  accounts: funded,
  validators: bonded,
  assets: list,
}: AppGenesis) {
  const none = nopg(0n);
  return {
    liquid: nopg(funded.reduce((total, account) => total + account.nopg, 0n)),
    nodeBond: none,
    nodeUnbonding: none,
    valPool: nopg(bonded.reduce((total, validator) => total + validator.selfBond, 0n)),
    valUnbonding: none,
    deposit: none,
    restitution: none,
    rewards: none,
    reserve: nopg(reserveNopg),
    burnedFees: none,
    burnedSlash: none,
    burnedDeposit: none,
    assets: list
      .map(({ asset }) => asset)
      .sort((a, b) => a - b)
      .map(
        (asset) =>
          [
            asset,
            { liquid: credit(0n), channelFree: credit(0n), allocUnpaid: credit(0n), issued: 0n, retired: 0n },
          ] as const,
      ),
    baseFee: params.baseFeeMin,
    baseFeeHeight: 0,
    baseFeeGasUsed: params.gasTarget,
    rewardedEpoch: 0,
  };
}

/** Active from the first block on. */
function putMeasurements(state: State, { measurements: list }: AppGenesis): void {
  if (list.length > LIVE_MEASUREMENTS_MAX) {
    throw new UsageError(`at most ${LIVE_MEASUREMENTS_MAX} measurements, got ${list.length}`);
  }
  requireUnique(
    'measurement',
    list.map((measurement) => toHex(measurementIdOf(measurement))),
  );
  for (const measurement of list) {
    addMeasurement(state, { measurement, release: null, proposedAt: 0, activeFrom: 0 });
  }
}

function putAssets(state: State, { assets: list }: AppGenesis): void {
  if (list.length > ASSETS_MAX) throw new UsageError(`at most ${ASSETS_MAX} fee assets`);
  requireUnique(
    'asset',
    list.map(({ asset }) => `${asset}`),
  );
  for (const { asset, symbol, issuer } of list) {
    if (asset < 1) throw new UsageError('fee assets are numbered from 1');
    const record: AssetRecord = { symbol, issuer };
    assets.put(state, record, asset);
  }
}

function putValidators(state: State, { params, validators: list }: AppGenesis): readonly ValidatorUpdate[] {
  if (list.length === 0 || list.length > VALIDATORS_MAX) {
    throw new UsageError(`1 to ${VALIDATORS_MAX} validators, got ${list.length}`);
  }
  requireUnique(
    'validator',
    list.map(({ consensusKey }) => toHex(consensusKey)),
  );
  const members = list.map((validator) => ({ validator, address: consensusAddress(validator.consensusKey) }));
  for (const { validator, address } of members) {
    const { consensusKey, operator, selfBond } = validator;
    if (selfBond < params.validatorBondMin) {
      throw new UsageError(
        `validator ${toHex(address)} bonds ${selfBond} nopg, the minimum is ${params.validatorBondMin}`,
      );
    }
    const power = powerOf(selfBond);
    if (power < 1) throw new UsageError(`validator ${toHex(address)} bonds less than one unit of power`);
    validators.put(
      state,
      { consensusKey, operator, selfBond: nopg(selfBond), power, rewards: nopg(0n), unbondingDue: [] },
      address,
    );
  }
  putValidatorSet(state, {
    epoch: 0,
    blocks: 0,
    members: members.map(({ validator, address }) => ({
      address,
      signed: 0,
      leastPower: powerOf(validator.selfBond),
    })),
  });
  return list.map(({ consensusKey, selfBond }) => ({ consensusKey, power: powerOf(selfBond) }));
}

function requireUnique(what: string, names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw new UsageError(`${what} ${name} is in genesis twice`);
    seen.add(name);
  }
}
