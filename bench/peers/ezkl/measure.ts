/** EZKL: proofs of a whole inference by Halo2 with KZG on BN254, as its npm package makes them in Node. */
import { installedVersion, loadPeer } from '../install.ts';
import { makeKzgSetup } from '../kzg-setup.ts';
import { type MeasuredPeer, type MlpSize, withMedians } from '../peer-result.ts';
import { multiplications, type SampleMlp, sampleMlp } from '../sample-mlp.ts';
import { scalarBytes } from '../scalar-field.ts';
import { peakRssBytes, progress, repeated, timed, timesOf } from '../timing.ts';
import { type CircuitLayout, encodeCompiledCircuit, settingsJson } from './compiled-circuit.ts';
import { encodeHaloParams } from './halo-params.ts';

const PACKAGE = '@ezkljs/engine';
const VERIFICATIONS = 10;
const WARM_UP_VERIFICATIONS = 2;
/** A verifier needs no more than the shortest reference string, and parses it each time. */
const VERIFIER_LOG_ROWS = 1;

/**
 * For each size the layout it proves fastest with, of those that hold the circuit and were tried (README). Base 16384 and
 * two digits are the engine's defaults; the smallest size needs fewer rows with another base.
 */
const LAYOUTS: Readonly<Record<MlpSize, CircuitLayout>> = {
  '784-64-10': { logRows: 15, innerColumns: 3, decompositionBase: 16_384, decompositionDigits: 2 },
  '784-16-10': { logRows: 14, innerColumns: 2, decompositionBase: 16_384, decompositionDigits: 2 },
  '16-8-4': { logRows: 11, innerColumns: 2, decompositionBase: 1_024, decompositionDigits: 3 },
};

/** The functions of the engine that are used: bytes in, bytes out. JSON goes through them as UTF-8. */
interface Engine {
  readonly init_panic_hook: () => void;
  readonly genWitness: (circuit: Bytes, input: Bytes) => Uint8Array;
  readonly genVk: (circuit: Bytes, srs: Bytes, compressSelectors: boolean) => Uint8Array;
  readonly genPk: (verifyingKey: Bytes, circuit: Bytes, srs: Bytes) => Uint8Array;
  readonly prove: (witness: Bytes, provingKey: Bytes, circuit: Bytes, srs: Bytes) => Uint8Array;
  readonly verify: (proof: Bytes, verifyingKey: Bytes, settings: Bytes, srs: Bytes) => boolean;
}

type Bytes = Uint8ClampedArray;

interface ProofJson {
  readonly instances: readonly (readonly string[])[];
  readonly proof: readonly number[];
}

export async function measureEzkl(size: MlpSize, proofs: number): Promise<MeasuredPeer> {
  const engine = loadPeer<Engine>(PACKAGE);
  engine.init_panic_hook();
  const layout = LAYOUTS[size];
  const mlp = sampleMlp(size);
  const circuit = clamped(encodeCompiledCircuit(mlp.layers, layout));
  progress(`reference string of 2^${layout.logRows} points`);
  const srs = await timed(() => makeReferenceStrings(layout.logRows));
  const { prover, verifier } = srs.value;

  progress('keys');
  const witness = await timed(() => clamped(engine.genWitness(circuit, json({ input_data: [mlp.input] }))));
  const verifyingKey = await timed(() => clamped(engine.genVk(circuit, prover, true)));
  const provingKey = await timed(() => clamped(engine.genPk(verifyingKey.value, circuit, prover)));
  progress(`${proofs} proof(s) of ${size}`);
  const proved = await repeated(proofs, () =>
    clamped(engine.prove(witness.value, provingKey.value, circuit, prover)),
  );
  const proof = proved.at(-1)?.value ?? clamped(new Uint8Array());
  const settings = json(settingsJson(mlp.layers, layout));
  const check = (candidate: Bytes): boolean =>
    engine.verify(candidate, verifyingKey.value, settings, verifier);
  const parsed = parseProof(proof);
  requireSoundProof(check, proof, parsed, mlp);
  const verified = await repeated(WARM_UP_VERIFICATIONS + VERIFICATIONS, () => requireAccepted(check, proof));
  return {
    name: 'ezkl',
    package: PACKAGE,
    version: installedVersion(PACKAGE) ?? 'unknown',
    what: `Halo2/KZG proof of an int8 perceptron ${size} with rescaling and ReLU, ${multiplications(mlp).toLocaleString('en')} multiplications, 2^${layout.logRows} rows`,
    ...withMedians({
      srsMs: [srs.ms],
      witnessMs: [witness.ms],
      verifyingKeyMs: [verifyingKey.ms],
      provingKeyMs: [provingKey.ms],
      ...timesOf('prove', proved),
      ...timesOf('verify', verified.slice(WARM_UP_VERIFICATIONS)),
    }),
    sizes: {
      proof: parsed.proof.length,
      proofJson: proof.length,
      provingKey: provingKey.value.length,
      verifyingKey: verifyingKey.value.length,
    },
    peakRssBytes: peakRssBytes(),
    notes: NOTES,
  };
}

async function makeReferenceStrings(logRows: number): Promise<{ prover: Bytes; verifier: Bytes }> {
  const setup = await makeKzgSetup();
  return {
    prover: clamped(encodeHaloParams(setup, logRows)),
    verifier: clamped(encodeHaloParams(setup, VERIFIER_LOG_ROWS)),
  };
}

const NOTES = [
  'One thread of WebAssembly: the npm package has no threads in Node. The native build of EZKL, which uses all cores, is several times faster; it is no npm package.',
  'Input and weights are private (zero-knowledge), the output is public. A changed output was rejected in this run.',
  'Rescaled sums are not clamped to int8, and the engine does not range-check weights: a little less than an int8 model is proved.',
  'proveMs leaves out the witness, the keys and the reference string; verifyMs contains parsing of proof, key and settings.',
  'The reference string was made here with a secret that was known to this process: fit to measure with only.',
];

/** The proof must be one: of the output computed here, accepted as it is and rejected with another output. */
function requireSoundProof(
  check: (candidate: Bytes) => boolean,
  proof: Bytes,
  parsed: ProofJson,
  mlp: SampleMlp,
): void {
  const [outputs = []] = parsed.instances;
  const expected = mlp.output.map(scalarHex);
  if (outputs.join() !== expected.join())
    throw new Error('the engine computed another output than the model');
  requireAccepted(check, proof);
  const changed = [scalarHex((mlp.output[0] ?? 0) + 1), ...outputs.slice(1)];
  if (accepts(check, json({ ...parsed, instances: [changed] }))) {
    throw new Error('the engine accepted a proof with another output');
  }
}

function requireAccepted(check: (candidate: Bytes) => boolean, proof: Bytes): void {
  if (!accepts(check, proof)) throw new Error('the engine rejected its own proof');
}

/** The engine throws where a proof fails; any other error is no answer. */
function accepts(check: (candidate: Bytes) => boolean, proof: Bytes): boolean {
  try {
    return check(proof);
  } catch (error) {
    if (String(error).includes('Verification failed')) return false;
    throw error;
  }
}

function parseProof(proof: Bytes): ProofJson {
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(proof))) as ProofJson;
}

function scalarHex(value: number): string {
  return Buffer.from(scalarBytes(BigInt(value))).toString('hex');
}

function json(value: unknown): Bytes {
  return clamped(new TextEncoder().encode(JSON.stringify(value)));
}

/** The engine takes this kind of array alone. */
function clamped(bytes: Uint8Array): Bytes {
  return new Uint8ClampedArray(bytes);
}
