/** snarkjs: Groth16 on BN254, the usual way to verify a proof in JavaScript. */
import { randomBytes } from 'node:crypto';
import { installedVersion, loadPeer } from '../install.ts';
import { type MeasuredPeer, withMedians } from '../peer-result.ts';
import { peakRssBytes, progress, repeated, timed, timesOf } from '../timing.ts';
import { CONSTRAINTS, encodeMimcCircuit, mimcWitness } from './mimc-circuit.ts';

const PACKAGE = 'snarkjs';
const VERIFICATIONS = 20;
const WARM_UP_VERIFICATIONS = 3;
/** Constraints and public values must fit 2^LOG_DOMAIN. */
const LOG_DOMAIN = 10;
const SECRET = 1234567890123456789n;
/** A point is two or, in G2, four field elements of 32 bytes. */
const PROOF_BYTES = (2 * 2 + 4) * 32;

/** A file that snarkjs keeps in memory. */
interface MemoryFile {
  readonly type: 'mem';
  data?: Uint8Array;
}

interface Proof {
  readonly proof: object;
  readonly publicSignals: readonly string[];
}

interface Snarkjs {
  readonly curves: { readonly getCurveFromName: (name: string) => Promise<object> };
  readonly powersOfTau: {
    readonly newAccumulator: (curve: object, power: number, to: MemoryFile) => Promise<unknown>;
    readonly contribute: (
      from: MemoryFile,
      to: MemoryFile,
      name: string,
      entropy: string,
    ) => Promise<unknown>;
    readonly preparePhase2: (from: MemoryFile, to: MemoryFile) => Promise<unknown>;
  };
  readonly zKey: {
    readonly newZKey: (circuit: MemoryFile, powers: MemoryFile, to: MemoryFile) => Promise<unknown>;
    readonly contribute: (
      from: MemoryFile,
      to: MemoryFile,
      name: string,
      entropy: string,
    ) => Promise<unknown>;
    readonly exportVerificationKey: (from: MemoryFile) => Promise<object>;
  };
  readonly groth16: {
    readonly prove: (provingKey: MemoryFile, witness: MemoryFile) => Promise<Proof>;
    readonly verify: (key: object, publicSignals: readonly string[], proof: object) => Promise<boolean>;
  };
}

export async function measureSnarkjs(proofs: number): Promise<MeasuredPeer> {
  const snarkjs = loadPeer<Snarkjs>(PACKAGE);
  progress('powers of τ and keys');
  const setup = await timed(() => makeProvingKey(snarkjs));
  const provingKey = setup.value;
  const verifyingKey = await snarkjs.zKey.exportVerificationKey(provingKey);
  const { file, output } = mimcWitness(SECRET);

  progress(`${proofs} proof(s) of ${CONSTRAINTS} constraints`);
  const proved = (
    await repeated(1 + proofs, () => snarkjs.groth16.prove(provingKey, memoryFile(file)))
  ).slice(1);
  const last = proved.at(-1)?.value;
  if (last === undefined) throw new Error('no proof was made');
  await requireSoundProof(snarkjs, verifyingKey, last, output);
  const verify = (): Promise<boolean> => snarkjs.groth16.verify(verifyingKey, last.publicSignals, last.proof);
  const verified = (await repeated(WARM_UP_VERIFICATIONS + VERIFICATIONS, verify)).slice(
    WARM_UP_VERIFICATIONS,
  );
  if (verified.some(({ value }) => !value)) throw new Error('snarkjs rejected its own proof');
  return {
    name: 'snarkjs',
    package: PACKAGE,
    version: installedVersion(PACKAGE) ?? 'unknown',
    what: `Groth16 proof of a MiMC preimage, ${CONSTRAINTS.toLocaleString('en')} constraints, one public value`,
    ...withMedians({
      setupMs: [setup.ms],
      ...timesOf('prove', proved),
      ...timesOf('verify', verified),
    }),
    sizes: {
      proof: PROOF_BYTES,
      proofJson: JSON.stringify(last.proof).length,
      provingKey: provingKey.data?.length ?? 0,
      verifyingKeyJson: JSON.stringify(verifyingKey).length,
    },
    peakRssBytes: peakRssBytes(),
    notes: NOTES,
  };
}

const NOTES = [
  'No inference: Groth16 verification costs the same for every circuit (but for public values), so verifyMs is what any such proof costs in JavaScript; proveMs is of this small circuit alone.',
  'The first proof and the first verifications of the process are left out. Proving runs on the worker threads of snarkjs, one a core.',
  'Needs a trusted setup for each circuit; the one here was made in this process: fit to measure with only. A changed public value was rejected in this run.',
];

/** Powers of τ and a proving key, each with one contribution of fresh randomness. */
async function makeProvingKey({ curves, powersOfTau, zKey }: Snarkjs): Promise<MemoryFile> {
  const [empty, contributed, powers, initial, provingKey] = Array.from({ length: 5 }, () => memoryFile()) as [
    MemoryFile,
    MemoryFile,
    MemoryFile,
    MemoryFile,
    MemoryFile,
  ];
  await powersOfTau.newAccumulator(await curves.getCurveFromName('bn128'), LOG_DOMAIN, empty);
  await powersOfTau.contribute(empty, contributed, 'bench', entropy());
  await powersOfTau.preparePhase2(contributed, powers);
  await zKey.newZKey(memoryFile(encodeMimcCircuit()), powers, initial);
  await zKey.contribute(initial, provingKey, 'bench', entropy());
  return provingKey;
}

async function requireSoundProof(
  { groth16 }: Snarkjs,
  key: object,
  { proof, publicSignals }: Proof,
  output: bigint,
): Promise<void> {
  if (publicSignals.join() !== String(output)) throw new Error('snarkjs proved another output');
  if (!(await groth16.verify(key, publicSignals, proof))) throw new Error('snarkjs rejected its own proof');
  const changed = publicSignals.map((value) => String(BigInt(value) + 1n));
  if (await groth16.verify(key, changed, proof)) {
    throw new Error('snarkjs accepted a proof with another public value');
  }
}

function memoryFile(data?: Uint8Array): MemoryFile {
  return data === undefined ? { type: 'mem' } : { type: 'mem', data };
}

function entropy(): string {
  return randomBytes(32).toString('hex');
}
