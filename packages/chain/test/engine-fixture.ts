/** A funded chain for tests of application, engine and RPC: known keys, a clock in hand, folders that go away. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type GenesisDocument, parseGenesisDocument } from '@haca/light-client';
import { nodeCrypto } from '@haca/platform';
import { sha256, utf8Encode } from '@haca/primitives';
import { nopg, type Op, signTransaction } from '@haca/protocol';
import type { PendingLimits } from '../src/application/pending-pool.ts';
import { type ApplicationOptions, type HacaApplication, openApplication } from '../src/application.ts';
import { type FullNode, type FullNodeOptions, startFullNode } from '../src/full-node.ts';
import { makeGenesisDocument } from '../src/genesis-document.ts';
import { openStore, type Store } from '../src/storage/index.ts';
import {
  type Actor,
  CHAIN,
  FAUCET,
  SHORT_PARAMS,
  TEST_VERIFIER,
  testGenesis,
} from './state-machine-world.ts';

export const GENESIS_TIME_MS = Date.UTC(2026, 0, 1);
export const VALIDATOR_SEED = sha256(utf8Encode('test actor validator'));

export function genesisDocument(timeMs = GENESIS_TIME_MS): GenesisDocument {
  const params = { ...SHORT_PARAMS, validUntilAhead: 1_000_000 };
  const document = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: timeMs, app: testGenesis(params) });
  return parseGenesisDocument(JSON.parse(JSON.stringify(document)));
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'haca-chain-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface TxOptions {
  readonly validUntil?: number;
  readonly maxFee?: bigint;
  readonly tipCap?: bigint;
  readonly chainId?: string;
  readonly feePayer?: Actor;
}

export function transaction(
  by: Actor,
  nonce: number,
  ops: readonly Op[],
  options: TxOptions = {},
): Uint8Array {
  const body = {
    version: 1 as const,
    chainId: options.chainId ?? CHAIN,
    sender: by.key,
    nonce,
    validUntil: options.validUntil ?? 100_000,
    maxFee: nopg(options.maxFee ?? 10_000n),
    tipCap: nopg(options.tipCap ?? 0n),
    feePayer: options.feePayer?.key ?? null,
    ops: [...ops],
  };
  return signTransaction(body, by.signer.sign, options.feePayer?.signer.sign ?? null).bytes;
}

export function transferOp(to: Actor, amount: bigint): Op {
  return { kind: 'transfer-opg', to: to.id, amount: nopg(amount) };
}

export function transfer(
  by: Actor,
  nonce: number,
  to: Actor,
  amount: bigint,
  options: TxOptions = {},
): Uint8Array {
  return transaction(by, nonce, [transferOp(to, amount)], options);
}

export { FAUCET };

/** A full node with invariants checked after each block; closed after the test unless the test closed it. */
export async function testNode(
  t: TestContext,
  options: Partial<FullNodeOptions> = {},
): Promise<FullNode & { readonly home: string; readonly genesis: GenesisDocument }> {
  const home = options.home ?? temporaryFolder(t);
  const genesis = options.genesis ?? genesisDocument(Date.now());
  const node = await startFullNode({
    home,
    genesis,
    validatorSeed: VALIDATOR_SEED,
    evidence: TEST_VERIFIER,
    blockIntervalMs: 5,
    ...options,
  });
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    await node.close();
  };
  t.after(close);
  return { ...node, close, home, genesis };
}

/** An application on a store of its own, driven by hand. */
export function testApplication(
  t: TestContext,
  options: {
    readonly folder?: string;
    readonly versionsKept?: number;
    readonly pendingLimits?: PendingLimits;
    readonly over?: Partial<ApplicationOptions>;
  } = {},
): { readonly application: HacaApplication; readonly store: Store; readonly folder: string } {
  const folder = options.folder ?? temporaryFolder(t);
  const store = openStore(folder);
  t.after(() => store.close());
  const application = openApplication({
    store,
    crypto: nodeCrypto,
    evidence: TEST_VERIFIER,
    checkInvariants: true,
    ...(options.versionsKept === undefined ? {} : { versionsKept: options.versionsKept }),
    ...(options.pendingLimits === undefined ? {} : { pendingLimits: options.pendingLimits }),
    ...options.over,
  });
  return { application, store, folder };
}
