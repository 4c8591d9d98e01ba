/** A real network around one inference node: full node, bonded operator, open channels with money in them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createValidatorKeyFile, makeGenesisDocument } from '@haca/chain';
import { connectRpc, ed25519SignerFromSeed, fromBase64url } from '@haca/platform';
import { domainHash, fromHex, utf8Encode } from '@haca/primitives';
import {
  type AppGenesis,
  accountIdOf,
  channelIdOf,
  credit,
  DEFAULT_PARAMS,
  NCR_PER_CREDIT,
  NOPG_PER_OPG,
  OFFER,
  OPG_SUPPLY_NOPG,
  type Op,
} from '@haca/protocol';
import { createWalletFile, readWalletFile, submitOps } from '@haca/sdk/node';
import { type MeasuredProcess, startProcess } from './processes.ts';
import type { PaymentSetup } from './voucher-book.ts';
import { MODEL } from './workload.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CHAIN_ID = 'haca-bench-1';
const ASSET = 1;
const CHANNELS = 8;
const BOND = 50_000n * NOPG_PER_OPG;
const ALLOCATION = 1_000n * NCR_PER_CREDIT;
const SESSION_BLOCKS = 50_000;

export interface BenchNetwork {
  readonly fullNode: MeasuredProcess;
  readonly node: MeasuredProcess;
  readonly nodeUrl: string;
  readonly payment: PaymentSetup;
}

/** Everything below `home`. The caller stops the processes. */
export async function startBenchNetwork(
  home: string,
  upstreamUrl: string,
  started: (process: MeasuredProcess) => void,
): Promise<BenchNetwork> {
  writeNetworkFiles(home);
  const fullNode = await startProcess({
    name: 'full node',
    entry: join(ROOT, 'apps/full-node/src/main.ts'),
    args: [join(home, 'full-node.json')],
    logFile: join(home, 'full-node.log'),
  });
  started(fullNode);
  const rpcUrl = String(fullNode.ready['rpcUrl']);
  const node = await startInferenceNode(home, rpcUrl, upstreamUrl);
  started(node);
  const nodeUrl = String(node.ready['url']);
  return { fullNode, node, nodeUrl, payment: await openChannels(home, rpcUrl, nodeUrl) };
}

function writeNetworkFiles(home: string): void {
  mkdirSync(home, { recursive: true });
  const payer = createWalletFile(join(home, 'payer.json'));
  const operator = createWalletFile(join(home, 'operator.json'));
  const validator = createValidatorKeyFile(join(home, 'validator.json'));
  const validatorOperator = accountIdOf({ algorithm: 'ed25519', publicKey: validator.publicKey });
  const selfBond = 1_000_000n * NOPG_PER_OPG;
  const operatorFunds = BOND + 10_000n * NOPG_PER_OPG;
  const payerFunds = 1_000n * NOPG_PER_OPG;
  const app: AppGenesis = {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - selfBond - operatorFunds - payerFunds,
    accounts: [
      { accountId: operator.accountId, nopg: operatorFunds },
      { accountId: payer.accountId, nopg: payerFunds },
    ],
    validators: [{ consensusKey: validator.publicKey, operator: validatorOperator, selfBond }],
    assets: [{ asset: ASSET, symbol: 'CREDIT', issuer: payer.accountId }],
    measurements: [],
    testRoots: [],
  };
  const document = makeGenesisDocument({ chainId: CHAIN_ID, genesisTimeMs: Date.now(), app });
  writeJson(join(home, 'genesis.json'), document);
  writeJson(join(home, 'full-node.json'), {
    home: 'full-node',
    genesisFile: 'genesis.json',
    validatorKeyFile: 'validator.json',
    host: '127.0.0.1',
    rpcPort: 0,
    checkInvariants: false,
  });
}

function startInferenceNode(home: string, rpcUrl: string, upstreamUrl: string): Promise<MeasuredProcess> {
  const config = join(home, 'inference-node.json');
  writeJson(config, {
    dataDir: 'inference-node',
    rpcUrl,
    operatorFile: 'operator.json',
    name: 'bench',
    host: '127.0.0.1',
    port: 0,
    bondNopg: `${BOND}`,
    attester: { kind: 'none' },
    engines: [{ kind: 'upstream', baseUrl: `${upstreamUrl}/v1`, proxied: false, models: [{ name: MODEL }] }],
    prices: {
      asset: ASSET,
      inputPrice: '20000000',
      cachedInputPrice: '10000000',
      outputPrice: '60000000',
      requestPrice: '1000',
      minCharge: '1000',
    },
  });
  return startProcess({
    name: 'inference node',
    entry: join(ROOT, 'apps/inference-node/src/main.ts'),
    args: [config],
    logFile: join(home, 'inference-node.log'),
  });
}

/** One payer with several channels, each with a session key of its own and an allocation for the node. */
async function openChannels(home: string, rpcUrl: string, nodeUrl: string): Promise<PaymentSetup> {
  const info = (await (await fetch(`${nodeUrl}/v1/haca`)).json()) as NodeInfo;
  const [model] = info.models;
  if (model?.keyId == null) throw new Error('the node serves no model');
  const nodeId = fromHex(info.nodeId);
  const { signer, accountId } = readWalletFile(join(home, 'payer.json'));
  const rpc = connectRpc(rpcUrl);
  try {
    const submit = (ops: readonly Op[], nonce: number) =>
      submitOps({ rpc, chainId: CHAIN_ID, signer, ops, nonce });
    const amount = credit(ALLOCATION * BigInt(CHANNELS));
    const { height } = await submit([{ kind: 'issue', to: accountId, asset: ASSET, amount }], 0);
    const expiryHeight = height + SESSION_BLOCKS;
    const channels = Array.from({ length: CHANNELS }, (_, i) => ({
      channelId: channelIdOf(CHAIN_ID, accountId, ASSET, i + 1),
      sessionSeed: domainHash('haca/bench-session/1', utf8Encode(`${i}`)),
    }));
    for (const [i, { channelId, sessionSeed }] of channels.entries()) {
      const { publicKey } = ed25519SignerFromSeed(sessionSeed);
      await submit(
        [
          { kind: 'open-channel', asset: ASSET, amount: credit(ALLOCATION) },
          { kind: 'register-session', channelId, session: 0, publicKey, expiryHeight },
          { kind: 'allocate', channelId, nodeId, amount: credit(ALLOCATION) },
        ],
        i + 1,
      );
    }
    const keyId = fromHex(model.keyId);
    const publicKey = fromHex(info.keys.find((key) => key.keyId === model.keyId)?.publicKey ?? '');
    const offer = OFFER.decode(fromBase64url(model.offer)).value;
    return { chainId: CHAIN_ID, keyId, publicKey, offer, channels, expiry: expiryHeight };
  } finally {
    rpc.close();
  }
}

interface NodeInfo {
  readonly nodeId: string;
  readonly keys: readonly { readonly keyId: string; readonly publicKey: string }[];
  readonly models: readonly { readonly keyId: string | null; readonly offer: string }[];
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
}
