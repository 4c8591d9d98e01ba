/** A state of a million accounts, most of them nobody's, and the blocks that meet it. */

import { applyGenesis, createStateTree, openStore } from '@haca/chain';
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { compareBytes, decode, encode, sha256, toHex, utf8Encode } from '@haca/primitives';
import {
  type AppGenesis,
  accountIdOf,
  accountRecordCodec,
  credit,
  DEFAULT_PARAMS,
  NOPG_PER_OPG,
  nopg,
  OPG_SUPPLY_NOPG,
  recordKey,
  signTransaction,
  totalsRecordCodec,
} from '@haca/protocol';

export const CHAIN_ID = 'haca-bench-state-1';
export const GENESIS_TIME_MS = 1_800_000_000_000;
const SENDERS = 1_024;
const PUT_BATCH = 50_000;

export type Entry = readonly [key: Uint8Array, value: Uint8Array];

export function senderOf(index: number): Ed25519Signer {
  return ed25519SignerFromSeed(sha256(utf8Encode(`bench sender ${index % SENDERS}`)));
}

function idOf(signer: Ed25519Signer): Uint8Array {
  return accountIdOf({ algorithm: 'ed25519', publicKey: signer.publicKey });
}

/** Id of account `index` of those that only receive. */
export function accountId(index: number): Uint8Array {
  return nodeCrypto.sha256(utf8Encode(`bench account ${index}`));
}

/** An account that was used: an amount of 12 digits, a balance of one fee asset, and nonces. */
export function accountEntry(index: number): Entry {
  const record = {
    nopg: nopg(100_000_000_000n + BigInt(index) * 1_001n),
    credits: index % 4 === 0 ? ([[1, credit(5_000_000_000n + BigInt(index))]] as const) : [],
    nonceHigh: index % 100,
    nonceBits: index % 100 === 0 ? 0n : 0xffff_ffff_ffff_fff0n,
  };
  return [recordKey.account(accountId(index)), encode(accountRecordCodec, record)];
}

function genesis(): AppGenesis {
  const validator = ed25519SignerFromSeed(sha256(utf8Encode('bench validator')));
  const each = 100_000n * NOPG_PER_OPG;
  const bond = 1_000_000n * NOPG_PER_OPG;
  return {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - bond - each * BigInt(SENDERS),
    accounts: Array.from({ length: SENDERS }, (_, i) => ({ accountId: idOf(senderOf(i)), nopg: each })),
    validators: [{ consensusKey: validator.publicKey, operator: idOf(validator), selfBond: bond }],
    assets: [{ asset: 1, symbol: 'CREDIT', issuer: idOf(validator) }],
    measurements: [],
    testRoots: [],
  };
}

/** Writes the state of height 1: what genesis gives, and `count` accounts more. */
export async function writeAccounts(directory: string, count: number): Promise<void> {
  const totalsKey = toHex(recordKey.totals());
  const entries = applyGenesis(genesis(), CHAIN_ID, GENESIS_TIME_MS).changes.map(([key, value]): Entry => {
    if (toHex(key) !== totalsKey) return [key, value as Uint8Array];
    // As if block 1 had paid gas: nothing is asked about blocks before.
    const totals = decode(totalsRecordCodec, value as Uint8Array, 'totals');
    return [key, encode(totalsRecordCodec, { ...totals, baseFeeHeight: 1 })];
  });
  for (let i = 0; i < count; i++) entries.push(accountEntry(i));
  entries.sort(([a], [b]) => compareBytes(a, b));
  const root = createStateTree().load(1, entries);
  const store = openStore(directory);
  const restore = await store.beginRestore();
  for (let i = 0; i < entries.length; i += PUT_BATCH) await restore.put(entries.slice(i, i + PUT_BATCH));
  await restore.finish(1, root);
  await store.close();
}

/** Transfers of different senders to accounts all over the state; `from` counts the transfers made before. */
export function transfers(count: number, from: number, accounts: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const number = from + i;
    const signer = senderOf(number);
    const body = {
      version: 1,
      chainId: CHAIN_ID,
      sender: { algorithm: 'ed25519', publicKey: signer.publicKey },
      nonce: Math.floor(number / SENDERS),
      validUntil: 1_000,
      maxFee: nopg(100_000n),
      tipCap: nopg(0n),
      feePayer: null,
      ops: [{ kind: 'transfer-opg', to: accountId((number * 7_919) % accounts), amount: nopg(1_000_000n) }],
    } as const;
    return signTransaction(body, signer.sign).bytes;
  });
}
