/** Noir with Barretenberg: UltraHonk proofs of the same inference. */
import { availableParallelism } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { installedVersion, loadPeer } from '../install.ts';
import { makeKzgSetup } from '../kzg-setup.ts';
import { type MeasuredPeer, type MlpSize, withMedians } from '../peer-result.ts';
import { multiplications, type SampleMlp, sampleMlp } from '../sample-mlp.ts';
import { peakRssBytes, progress, repeated, timed, timesOf } from '../timing.ts';
import { fieldBytes, mlpArguments, mlpProgram } from './mlp-program.ts';

const PACKAGE = '@aztec/bb.js';
const VERIFICATIONS = 10;
const WARM_UP_VERIFICATIONS = 2;

interface NoirWasm {
  readonly createFileManager: (root: string) => FileManager;
  readonly compile: (files: FileManager) => Promise<{ readonly program: Program }>;
}

interface FileManager {
  readonly writeFile: (path: string, content: ReadableStream) => Promise<void>;
}

interface Program {
  /** Base64 of gzip. */
  readonly bytecode: string;
}

interface NoirJs {
  readonly Noir: new (
    program: Program,
  ) => { readonly execute: (inputs: object) => Promise<{ readonly witness: Uint8Array }> };
}

interface Barretenberg {
  readonly acirGetCircuitSizes: (
    program: Uint8Array,
    recursive: boolean,
    honk: boolean,
  ) => Promise<readonly [gates: number, domain: number]>;
  readonly srsInitSrs: (g1: Uint8Array, count: number, g2: Uint8Array) => Promise<void>;
  readonly acirWriteVkUltraHonk: (program: Uint8Array, recursive: boolean) => Promise<Uint8Array>;
  readonly acirProveUltraHonk: (
    program: Uint8Array,
    recursive: boolean,
    witness: Uint8Array,
  ) => Promise<Uint8Array>;
  readonly acirVerifyUltraHonk: (proof: Uint8Array, verifyingKey: Uint8Array) => Promise<boolean>;
  readonly destroy: () => Promise<void>;
}

interface BarretenbergJs {
  readonly Barretenberg: {
    readonly new: (options: { readonly threads: number }) => Promise<Barretenberg>;
  };
  /** Bytes that go to the WebAssembly as they are, without their length in front. */
  readonly RawBuffer: new (
    bytes: Uint8Array,
  ) => Uint8Array;
}

export async function measureNoir(size: MlpSize, proofs: number): Promise<MeasuredPeer> {
  const { Barretenberg, RawBuffer } = loadPeer<BarretenbergJs>(PACKAGE);
  const mlp = sampleMlp(size);
  progress('compiling');
  const compiled = await timed(() => compileProgram(mlp));
  const program = gunzipSync(Buffer.from(compiled.value.bytecode, 'base64'));
  const { Noir } = loadPeer<NoirJs>('@noir-lang/noir_js');
  const executed = await timed(() => new Noir(compiled.value).execute(mlpArguments(mlp)));
  const witness = gunzipSync(executed.value.witness);

  const threads = availableParallelism();
  const backend = await Barretenberg.new({ threads });
  const [gates, domain] = await backend.acirGetCircuitSizes(program, false, true);
  progress(`reference string of ${domain + 1} points`);
  const srs = await timed(() => makeReferenceString(domain + 1));
  const { g1, g2 } = srs.value;
  await backend.srsInitSrs(new RawBuffer(g1), domain + 1, new RawBuffer(g2));
  const verifyingKey = await timed(() => backend.acirWriteVkUltraHonk(program, false));
  progress(`${proofs} proof(s) of ${size}`);
  const proved = await repeated(proofs, () => backend.acirProveUltraHonk(program, false, witness));
  const proof = proved.at(-1)?.value ?? new Uint8Array();
  const verify = (candidate: Uint8Array): Promise<boolean> =>
    backend.acirVerifyUltraHonk(candidate, new RawBuffer(verifyingKey.value));
  await requireSoundProof(verify, proof, mlp);
  const verified = await repeated(WARM_UP_VERIFICATIONS + VERIFICATIONS, () => verify(proof));
  if (verified.some(({ value }) => !value)) throw new Error('Barretenberg rejected its own proof');
  return {
    name: 'noir',
    package: PACKAGE,
    version: installedVersion(PACKAGE) ?? 'unknown',
    what: `UltraHonk proof of an int8 perceptron ${size} with rescaling and ReLU, ${multiplications(mlp).toLocaleString('en')} multiplications, ${gates.toLocaleString('en')} gates, ${threads} threads`,
    ...withMedians({
      compileMs: [compiled.ms],
      witnessMs: [executed.ms],
      srsMs: [srs.ms],
      verifyingKeyMs: [verifyingKey.ms],
      ...timesOf('prove', proved),
      ...timesOf('verify', verified.slice(WARM_UP_VERIFICATIONS)),
    }),
    sizes: { proof: proof.length, verifyingKey: verifyingKey.value.length },
    peakRssBytes: peakRssBytes(),
    notes: NOTES,
  };
}

const NOTES = [
  'The same function on the same numbers as EZKL proves here. A changed output was rejected in this run.',
  'Input and weights are private inputs, but this version of the prover adds no zero-knowledge masks, and nothing commits to the weights.',
  'Rescaled sums are not clamped to int8, and weights are not range-checked: a little less than an int8 model is proved.',
  'proveMs contains the proving key, which this version makes anew for each proof, and leaves out compiling and the witness.',
  'The reference string was made here with a secret that was known to this process: fit to measure with only.',
];

async function compileProgram(mlp: SampleMlp): Promise<Program> {
  const { compile, createFileManager } = loadPeer<NoirWasm>('@noir-lang/noir_wasm');
  const files = createFileManager('/');
  const write = (path: string, text: string): Promise<void> =>
    files.writeFile(path, new Blob([text]).stream());
  await write('./src/main.nr', mlpProgram(mlp));
  await write('./Nargo.toml', '[package]\nname = "mlp"\ntype = "bin"\nauthors = [""]\n[dependencies]\n');
  return (await compile(files)).program;
}

/** The proof must be one: of the output computed here, accepted as it is and rejected with another output. */
async function requireSoundProof(
  verify: (candidate: Uint8Array) => Promise<boolean>,
  proof: Uint8Array,
  { output }: SampleMlp,
): Promise<void> {
  const outputs = Buffer.concat(output.map(fieldBytes));
  const at = Buffer.from(proof).indexOf(outputs);
  if (at < 0) throw new Error('the proof carries another output than the model');
  if (!(await verify(proof))) throw new Error('Barretenberg rejected its own proof');
  const changed = Uint8Array.from(proof);
  changed.set(fieldBytes((output[0] ?? 0) + 1), at);
  if (await verify(changed)) throw new Error('Barretenberg accepted a proof with another output');
}

/** Powers of τ in G1, and τ in G2 with the real half of a coordinate first. */
async function makeReferenceString(count: number): Promise<{ g1: Uint8Array; g2: Uint8Array }> {
  const setup = await makeKzgSetup();
  const point = setup.plainG2(setup.tauG2);
  const half = (index: number): Uint8Array => point.subarray(32 * index, 32 * (index + 1));
  return {
    g1: setup.plainG1(setup.powers(count)),
    g2: Buffer.concat([half(1), half(0), half(3), half(2)]),
  };
}
