/** The hardware that the local network pretends to have: whose evidence its nodes show, and what that is judged by. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  createTdxTestRoot,
  createTestRoot,
  measureTdxTestImage,
  measureTestImage,
  mintTdxCollateral,
  tdxRegisters,
} from '@haca/attester';
import { connectRpc, nodeCrypto, type RpcClient } from '@haca/platform';
import { decode, fromHex, utf8Encode } from '@haca/primitives';
import {
  collateralRecordCodec,
  type Measurement,
  pcrRegisters,
  recordListCodec,
  tablePrefix,
} from '@haca/protocol';
import { readWalletFile, submitOps } from '@haca/sdk/node';
import { verifyNvidia } from '@haca/verifier';

/** The image that test enclaves measure; the genesis approves exactly its measurements. */
const TEST_IMAGE = 'haca inference node 0.1.0';
const DAY_MS = 86_400_000;
/** A local network may stay up for long, and nobody posts anything to it. */
const COLLATERAL_LIFE_MS = 365 * DAY_MS;
const COLLATERAL_LEFT_MIN_MS = 30 * DAY_MS;
const POST_TRIES = 5;

/** The shape of each node's enclave, in order, and the GPUs beside it. */
const SHAPES = [
  { shape: 'nitro', gpus: 0, text: 'a Nitro enclave' },
  { shape: 'tdx', gpus: 1, text: 'a TDX guest with a GPU' },
] as const;

export interface TestHardware {
  readonly testRoots: readonly Uint8Array[];
  readonly measurements: readonly Measurement[];
}

/** Roots and measurements for a genesis. Who knows the seed can make evidence of anything on this network. */
export async function testHardwareOf(seed: Uint8Array): Promise<TestHardware> {
  const image = utf8Encode(TEST_IMAGE);
  const nvidia = createNvidiaTestRoot(seed);
  const [document] = await createNvidiaTestGpus({ root: nvidia }).attest(new Uint8Array(32));
  const roots = [{ sha256: nvidia.sha256, simulated: true }];
  const { claims, checks } = verifyNvidia(document as Uint8Array, {
    crypto: nodeCrypto,
    nowMs: Date.now(),
    roots,
    revoked: [],
  });
  if (claims === null) throw new Error(`a test GPU can not be verified: ${JSON.stringify(checks)}`);
  const gpu = [...claims.registers].map(([register, value]) => ({ register, value }));
  return {
    testRoots: [createTestRoot(seed), createTdxTestRoot(seed), nvidia].map(({ sha256 }) => sha256),
    measurements: [
      { name: TEST_IMAGE, kind: 'nitro', registers: pcrRegisters(measureTestImage(image)) },
      { name: TEST_IMAGE, kind: 'tdx', registers: tdxRegisters(measureTdxTestImage(image)) },
      {
        name: 'test GPU',
        kind: 'nvidia',
        registers: gpu.sort((a, b) => (a.register < b.register ? -1 : 1)),
      },
    ],
  };
}

export interface NodeHardware {
  /** Member `attester` of the node's configuration. */
  readonly attester: object;
  readonly text: string;
  /** Its evidence is judged by what a vendor publishes. */
  readonly needsCollateral: boolean;
}

/** What node `index` runs on. Networks of earlier releases know one shape only. */
export function nodeHardware(index: number, genesisFile: string, rootSeedFile: string): NodeHardware {
  const { shape, gpus, text } = SHAPES[isKnown('tdx', genesisFile) ? index % SHAPES.length : 0] ?? SHAPES[0];
  const attester = { kind: 'test-enclave', shape, rootSeedFile, image: TEST_IMAGE };
  const platform = shape === 'tdx' ? { platformFile: 'platform.json' } : {};
  const gpu = gpus === 0 ? {} : { gpu: { testGpus: gpus } };
  return { attester: { ...attester, ...platform, ...gpu }, text, needsCollateral: shape === 'tdx' };
}

function isKnown(kind: string, genesisFile: string): boolean {
  const genesis = JSON.parse(readFileSync(genesisFile, 'utf8')) as {
    readonly app_state: { readonly measurements: readonly { readonly kind: string }[] };
  };
  return genesis.app_state.measurements.some((measurement) => measurement.kind === kind);
}

export interface CollateralPost {
  readonly rpcUrl: string;
  readonly chainId: string;
  readonly rootSeedFile: string;
  /** Wallet that pays. */
  readonly walletFile: string;
}

/** Sees to it that the chain has what Intel would publish about test platforms, for weeks to come. */
export async function postTestCollateral({
  rpcUrl,
  chainId,
  rootSeedFile,
  walletFile,
}: CollateralPost): Promise<void> {
  const rpc = connectRpc(rpcUrl);
  try {
    if (await isCollateralFresh(rpc, Date.now())) return;
    const root = createTdxTestRoot(fromHex(readFileSync(rootSeedFile, 'utf8').trim()));
    // Before any block of a new network.
    const nowMs = Date.now() - DAY_MS;
    const items = mintTdxCollateral(root, { nowMs, nextUpdateMs: nowMs + COLLATERAL_LIFE_MS });
    const { signer } = readWalletFile(walletFile);
    for (let tries = 1; ; tries++) {
      try {
        await submitOps({ rpc, chainId, signer, ops: [{ kind: 'post-collateral', items: [...items] }] });
        return;
      } catch (error) {
        // The first block of a network that was continued can be as old as its last one.
        if (tries === POST_TRIES) throw error;
        await delay(100);
      }
    }
  } finally {
    rpc.close();
  }
}

async function isCollateralFresh(rpc: RpcClient, nowMs: number): Promise<boolean> {
  const { value } = await rpc.query('/records', tablePrefix('collateral'));
  const records = decode(recordListCodec, value, 'records').map(([, record]) =>
    decode(collateralRecordCodec, record, 'collateral'),
  );
  return (
    records.length > 0 && records.every(({ nextUpdateMs }) => nextUpdateMs > nowMs + COLLATERAL_LEFT_MIN_MS)
  );
}
