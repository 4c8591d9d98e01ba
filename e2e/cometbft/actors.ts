/** Who acts on a network under test: keys out of names, so that one seed gives one network. */
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { toHex, utf8Encode } from '@haca/primitives';
import {
  type AccountKey,
  type AppGenesis,
  accountIdOf,
  DEFAULT_PARAMS,
  NOPG_PER_OPG,
  nopg,
  OPG_SUPPLY_NOPG,
  type Op,
  type ProtocolParams,
  signTransaction,
} from '@haca/protocol';
import { SHORT_WINDOWS } from '../network.ts';

export const ASSET = 1;
export const VALIDATOR_BOND_NOPG = 1_000_000n * NOPG_PER_OPG;
const ACCOUNT_NOPG = 200_000n * NOPG_PER_OPG;
/** Blocks come faster than one a second here, and keys and transactions have to live through a whole run. */
const PARAMS: ProtocolParams = { ...DEFAULT_PARAMS, ...SHORT_WINDOWS };
const MAX_FEE_PER_GAS = nopg(100_000n);

export interface Actor {
  readonly name: string;
  readonly signer: Ed25519Signer;
  readonly key: AccountKey;
  readonly id: Uint8Array;
}

export interface ValidatorActor {
  readonly seed: Uint8Array;
  readonly consensus: Ed25519Signer;
  /** Signs what changes its bond. */
  readonly operator: Actor;
}

export interface Cast {
  readonly faucet: Actor;
  readonly validators: readonly ValidatorActor[];
  /** Operators of inference nodes, and who pays them. */
  readonly operators: readonly Actor[];
  readonly payers: readonly Actor[];
  /** Accounts that send each other money. */
  readonly senders: readonly Actor[];
}

export interface CastSizes {
  /** Validators of genesis. */
  readonly validators: number;
  /** Validators that may join later: funded, not bonded. */
  readonly candidates: number;
  readonly operators: number;
  readonly senders: number;
}

export function castOf(seed: number, sizes: CastSizes): Cast {
  const actor = (name: string): Actor => {
    const signer = ed25519SignerFromSeed(seedOf(seed, name));
    const key: AccountKey = { algorithm: 'ed25519', publicKey: signer.publicKey };
    return { name, signer, key, id: accountIdOf(key) };
  };
  const list = (count: number, name: string): readonly Actor[] =>
    Array.from({ length: count }, (_, i) => actor(`${name} ${i + 1}`));
  return {
    faucet: actor('faucet'),
    validators: Array.from({ length: sizes.validators + sizes.candidates }, (_, i) => {
      const consensusSeed = seedOf(seed, `consensus key ${i + 1}`);
      const consensus = ed25519SignerFromSeed(consensusSeed);
      return { seed: consensusSeed, consensus, operator: actor(`validator operator ${i + 1}`) };
    }),
    operators: list(sizes.operators, 'operator'),
    payers: list(sizes.operators, 'payer'),
    senders: list(sizes.senders, 'sender'),
  };
}

function seedOf(seed: number, name: string): Uint8Array {
  return nodeCrypto.sha256(utf8Encode(`haca/e2e/1 ${seed} ${name}`));
}

/** Everybody has OPG; the first `bonded` validators have their bond too. */
export function genesisOf(cast: Cast, bonded: number): AppGenesis {
  const holders = [
    ...cast.operators,
    ...cast.payers,
    ...cast.senders,
    ...cast.validators.map(({ operator }) => operator),
  ];
  const reserveNopg = 1_000_000n * NOPG_PER_OPG;
  const given =
    reserveNopg +
    ACCOUNT_NOPG * BigInt(holders.length) +
    VALIDATOR_BOND_NOPG * BigInt(cast.validators.length);
  // A candidate has in its account what a validator has as its bond.
  const funds = (index: number): bigint => ACCOUNT_NOPG + (index < bonded ? 0n : VALIDATOR_BOND_NOPG);
  return {
    simulated: true,
    params: PARAMS,
    reserveNopg,
    accounts: [
      { accountId: cast.faucet.id, nopg: OPG_SUPPLY_NOPG - given },
      ...[...cast.operators, ...cast.payers, ...cast.senders].map(({ id }) => ({
        accountId: id,
        nopg: ACCOUNT_NOPG,
      })),
      ...cast.validators.map(({ operator }, i) => ({ accountId: operator.id, nopg: funds(i) })),
    ],
    validators: cast.validators.slice(0, bonded).map(({ consensus, operator }) => ({
      consensusKey: consensus.publicKey,
      operator: operator.id,
      selfBond: VALIDATOR_BOND_NOPG,
    })),
    assets: [{ asset: ASSET, symbol: 'CREDIT', issuer: cast.faucet.id }],
    measurements: [],
    testRoots: [],
  };
}

export interface SignedTx {
  readonly bytes: Uint8Array;
  /** Lower-case hex. */
  readonly hash: string;
}

/** Signs transactions of one account, each with the next nonce. */
export function openAccount(chainId: string, actor: Actor) {
  let nonce = 0;
  return {
    actor,
    nextNonce: () => nonce,
    /** Valid up to `blocks` after `height`. */
    sign: (ops: readonly Op[], height: number): SignedTx => {
      const { bytes } = signTransaction(
        {
          version: 1,
          chainId,
          sender: actor.key,
          nonce: nonce++,
          validUntil: height + PARAMS.validUntilAhead - 100,
          maxFee: MAX_FEE_PER_GAS,
          tipCap: nopg(0n),
          feePayer: null,
          ops,
        },
        actor.signer.sign,
      );
      return { bytes, hash: toHex(nodeCrypto.sha256(bytes)) };
    },
  };
}
export type Account = ReturnType<typeof openAccount>;
