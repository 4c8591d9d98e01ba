/** Test enclaves of a network: what genesis approves of them, what their vendor publishes, and what validators decide. */
import { join } from 'node:path';
import {
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  createTdxTestEnclave,
  createTdxTestRoot,
  type GpuAttester,
  type IntelTestCollateralOptions,
  intelTestPlatform,
  measureTdxTestImage,
  mintTdxCollateral,
  tdxRegisters,
} from '@haca/attester';
import { readValidatorKeyFile } from '@haca/chain';
import { type Ed25519Signer, ed25519SignerFromSeed, nodeCrypto, type RpcClient } from '@haca/platform';
import { merkleLeafHash, merkleRoot, sha256, utf8Decode, utf8Encode } from '@haca/primitives';
import {
  type AppGenesis,
  accountIdOf,
  type DecreeAction,
  decreeMessage,
  gpuEvidenceRootOf,
  gpuNonceOf,
  type Measurement,
  measurementIdOf,
  type OpOf,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingHash,
  STATEMENT,
  ZERO_DIGEST,
} from '@haca/protocol';
import { verifyNvidia } from '@haca/verifier';

export const IMAGES = { served: 'TDX image', other: 'another TDX image' } as const;
export type ImageName = keyof typeof IMAGES;

function tdxMeasurement(name: ImageName): Measurement {
  const registers = tdxRegisters(measureTdxTestImage(utf8Encode(IMAGES[name])));
  return { name: IMAGES[name], kind: 'tdx', registers };
}

export function measurementOf(name: ImageName): Uint8Array {
  return measurementIdOf(tdxMeasurement(name));
}

/** Intel's and NVIDIA's test roots, both images and the test GPUs. */
export async function tdxHardware(
  rootSeed: Uint8Array,
): Promise<Pick<AppGenesis, 'testRoots' | 'measurements'>> {
  const nvidia = createNvidiaTestRoot(rootSeed);
  const [document] = await createNvidiaTestGpus({ root: nvidia }).attest(new Uint8Array(32));
  const { claims } = verifyNvidia(document as Uint8Array, {
    crypto: nodeCrypto,
    nowMs: Date.now(),
    roots: [{ sha256: nvidia.sha256, simulated: true }],
    revoked: [],
  });
  const registers = Array.from(claims?.registers ?? [], ([register, value]) => ({ register, value }));
  return {
    testRoots: [createTdxTestRoot(rootSeed).sha256, nvidia.sha256],
    measurements: [
      tdxMeasurement('served'),
      tdxMeasurement('other'),
      {
        name: 'test GPU',
        kind: 'nvidia',
        registers: registers.sort((a, b) => (a.register < b.register ? -1 : 1)),
      },
    ],
  };
}

/** What Intel would publish; issued `ageMs` ago, which tells two issues apart. */
export function postTdxCollateral(
  rootSeed: Uint8Array,
  { ageMs, ...options }: Omit<IntelTestCollateralOptions, 'nowMs'> & { readonly ageMs: number },
): OpOf<'post-collateral'> {
  const nowMs = Math.floor((Date.now() - ageMs) / 1000) * 1000;
  return {
    kind: 'post-collateral',
    items: [...mintTdxCollateral(createTdxTestRoot(rootSeed), { nowMs, ...options })],
  };
}

/** Big-endian. */
export function pckSerialOf(rootSeed: Uint8Array, platformSeed: Uint8Array): Uint8Array {
  return intelTestPlatform(createTdxTestRoot(rootSeed), platformSeed).pckSerial;
}

/** By the one validator of a test network. */
export function decreeOf(
  home: string,
  chainId: string,
  serial: number,
  action: DecreeAction,
): OpOf<'decree'> {
  const { publicKey, sign } = ed25519SignerFromSeed(readValidatorKeyFile(join(home, 'validator.json')));
  const validator = sha256(publicKey).slice(0, 20);
  const signature = sign(decreeMessage({ chainId, serial, action }));
  return { kind: 'decree', serial, action, signatures: [{ validator, signature }] };
}

export interface Standing {
  readonly standing: string;
  readonly isBacking: boolean;
  readonly effectiveEndMs: number;
  readonly tcbStatus: string;
  readonly timeMs: number;
}

export async function standingOf(rpc: RpcClient, keyId: Uint8Array): Promise<Standing> {
  return JSON.parse(utf8Decode((await rpc.query('/key-standing', keyId)).value)) as Standing;
}

/** A batch of one receipt that nobody signed: a key without standing is refused before that matters. */
export function anyBatch(
  chainId: string,
  keyId: Uint8Array,
  { settledSeq, headHash }: { readonly settledSeq: number; readonly headHash: Uint8Array },
): OpOf<'settle'> {
  const batch = {
    receiptsRoot: ZERO_DIGEST,
    count: 1,
    firstSeq: settledSeq + 1,
    prevReceiptHash: headHash,
    lastReceiptHash: ZERO_DIGEST,
    running: [],
  };
  const { sign } = ed25519SignerFromSeed(new Uint8Array(32));
  const { bytes } = STATEMENT.sign({ version: 1, chainId, keyId, batch, charges: [] }, sign);
  return { kind: 'settle', statement: bytes, vouchers: [] };
}

export interface KeyOwner {
  readonly chainId: string;
  readonly signer: Pick<Ed25519Signer, 'publicKey'>;
  readonly nodeId: Uint8Array;
  readonly modelIds: readonly Uint8Array[];
  readonly rootSeed: Uint8Array;
}

/** Opens a key of a guest with GPUs on a platform of its own; `change` meddles with what the GPUs gave. */
export async function openGpuKey(
  rpc: RpcClient,
  { chainId, signer: operator, nodeId, modelIds, rootSeed }: KeyOwner,
  gpus: GpuAttester,
  keyEpoch: number,
  change: (documents: readonly Uint8Array[]) => readonly Uint8Array[],
): Promise<OpOf<'open-key'>> {
  const { height, blockHash } = await rpc.status();
  const signer = ed25519SignerFromSeed(sha256(Uint8Array.of(keyEpoch)));
  const asked: RegistrationBinding = {
    chainId,
    operator: accountIdOf({ algorithm: 'ed25519', publicKey: operator.publicKey }),
    nodeId,
    keyEpoch,
    signPublicKey: signer.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot(modelIds.map(merkleLeafHash)),
    configHash: ZERO_DIGEST,
    gpuEvidenceRoot: null,
    refHeight: height,
    refBlockHash: blockHash,
  };
  const documents = await gpus.attest(gpuNonceOf(asked));
  const binding = { ...asked, gpuEvidenceRoot: gpuEvidenceRootOf(documents) };
  const bindingHash = registrationBindingHash(nodeCrypto, binding);
  const enclave = createTdxTestEnclave({
    root: createTdxTestRoot(rootSeed),
    measurement: measureTdxTestImage(utf8Encode(IMAGES.served)),
  });
  const { signPublicKey, refBlockHash } = binding;
  const document = await enclave.attest({ bindingHash, signPublicKey, refBlockHash });
  return {
    kind: 'open-key',
    binding,
    method: 'tee',
    modelId: null,
    modelIds: [...modelIds],
    evidence: { kind: 'tdx', document },
    possession: signer.sign(possessionMessage(bindingHash)),
    gpuEvidence: [...change(documents)],
  };
}
