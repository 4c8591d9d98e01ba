/** Proofs of inference: proving, verifying and their size, beside other proof systems and the plain model. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Figure, Report } from './measure.ts';
import { round } from './measure.ts';
import { type MeasuredPeer, measurePeers, type PeerResult } from './peers/index.ts';
import type { NetworkFigures } from './zk/measure-network.ts';
import { NETWORKS, type NetworkCase } from './zk/networks.ts';

const CHILD = join(import.meta.dirname, 'zk/measure-network.ts');
const CHILD_MEMORY = '--max-old-space-size=6144';
const EZKL_RATIO = 1_000;

interface Measured {
  readonly network: NetworkCase;
  readonly figures: NetworkFigures;
}

export async function benchZk(): Promise<Report> {
  const measured = NETWORKS.map((network, number): Measured => {
    process.stderr.write(`  ${network.name} ...\n`);
    return { network, figures: measureNetwork(number) };
  });
  process.stderr.write('  peers ...\n');
  const peers = process.env['HACA_BENCH_PEERS'] === '0' ? [] : await measurePeers();
  return {
    area: 'zk',
    figures: [...measured.flatMap(figuresOf), ...peers.flatMap(peerFigures)],
    targets: [...measured.flatMap(targetsOf), ...peerTargets(measured, peers)],
    covers:
      'Weights are random, of published sizes. A proof time includes running the model and making the witness, not the ' +
      'commitment to the weights, which is made once. Verification starts from the bytes of key, statement and proof, ' +
      'with the key seen before. Nothing is hidden by these proofs, while EZKL hides input and weights and neither it nor ' +
      'Noir commits to the weights; peers run as their npm packages do, EZKL on one thread.',
  };
}

function measureNetwork(number: number): NetworkFigures {
  const child = spawnSync(process.execPath, [CHILD_MEMORY, CHILD, `${number}`], {
    encoding: 'utf8',
    maxBuffer: 1 << 24,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.status !== 0)
    throw new Error(`measuring ${NETWORKS[number]?.name} ended with ${child.status ?? child.signal}`);
  return JSON.parse(child.stdout) as NetworkFigures;
}

function figuresOf({ network, figures }: Measured): Figure[] {
  const of = (what: string, value: number, unit: string, note?: string): Figure =>
    note === undefined
      ? { name: `${network.name}: ${what}`, value, unit }
      : { name: `${network.name}: ${what}`, value, unit, note };
  const { proveMs, verifyMs } = figures;
  const list = [
    of(
      'run the model',
      figures.runMs,
      'ms',
      `${figures.weights.toLocaleString('en')} weights, one thread, no proof`,
    ),
    of('witness', figures.witnessMs, 'ms'),
    of('commit to the weights', figures.commitMs, 'ms', 'once per model'),
    of(
      'prove, 1 thread',
      proveMs.one,
      'ms',
      `tree of 2^${figures.treeBits}, columns of 2^${figures.columnBits}`,
    ),
    of('prove, 2 threads', proveMs.two, 'ms'),
    of('verify, TypeScript', verifyMs.portable, 'ms'),
    of('verify, WASM', verifyMs.wasm, 'ms'),
    of('proof', figures.proofBytes, 'bytes', `${figures.securityBits} proven bits`),
    of('peak memory', figures.peakMiB, 'MiB', 'the process, all of the above'),
  ];
  if (figures.referenceProveMs !== null)
    list.splice(
      5,
      0,
      of('prove, plain TypeScript', figures.referenceProveMs, 'ms', 'the reference, same bytes'),
    );
  if (network.batchSize > 1) {
    list.push(
      of('verify per inference', Math.min(verifyMs.wasm, verifyMs.portable) / network.batchSize, 'ms'),
    );
    list.push(of('prove per inference', proveMs.two / network.batchSize, 'ms'));
  }
  return list;
}

function targetsOf({ network, figures }: Measured): Report['targets'] {
  const best = {
    proveMs: Math.min(figures.proveMs.one, figures.proveMs.two),
    verifyMs: Math.min(figures.verifyMs.portable, figures.verifyMs.wasm),
    proofBytes: figures.proofBytes,
  };
  const { targets } = network;
  return (['proveMs', 'verifyMs', 'proofBytes'] as const).flatMap((what) => {
    const target = targets[what];
    if (target === undefined) return [];
    const unit = what === 'proofBytes' ? 'bytes' : 'ms';
    return [
      {
        what: `${network.name}: ${what.replace(/Ms|Bytes/, '')}`,
        target: `≤ ${target} ${unit}`,
        got: `${round(best[what], 4)} ${unit}`,
        met: best[what] <= target,
      },
    ];
  });
}

const isMeasured = (peer: PeerResult): peer is MeasuredPeer => !('missing' in peer);

function peerFigures(peer: PeerResult): Figure[] {
  if (!isMeasured(peer))
    return [{ name: `${peer.name}: not measured`, value: Number.NaN, unit: '', note: peer.missing }];
  return (['proveMs', 'verifyMs'] as const).flatMap((what) => {
    const value = peer.median[what];
    return value === undefined
      ? []
      : [
          {
            name: `${peer.name} ${peer.version}: ${what.replace('Ms', '')}`,
            value,
            unit: 'ms',
            note: peer.what,
          },
        ];
  });
}

function peerTargets(measured: readonly Measured[], peers: readonly PeerResult[]): Report['targets'] {
  const ours = measured.find(({ network }) => network.name === 'MLP 784-64-10')?.figures;
  if (ours === undefined) return [];
  const proveMs = Math.min(ours.proveMs.one, ours.proveMs.two);
  const verifyMs = Math.min(ours.verifyMs.portable, ours.verifyMs.wasm);
  const of = (name: string): MeasuredPeer | undefined =>
    peers.filter(isMeasured).find((peer) => peer.name === name);
  const targets: Report['targets'][number][] = [];
  const ezkl = of('ezkl')?.median['proveMs'];
  if (ezkl !== undefined) {
    const ratio = ezkl / proveMs;
    targets.push({
      what: 'MLP 784-64-10: prove against EZKL',
      target: `≥ ${EZKL_RATIO} times faster`,
      got: `${round(ratio)} times`,
      met: ratio >= EZKL_RATIO,
    });
  }
  const noir = of('noir')?.median['proveMs'];
  if (noir !== undefined)
    targets.push({
      what: 'MLP 784-64-10: prove against Noir',
      target: 'faster',
      got: `${round(noir / proveMs)} times`,
      met: noir > proveMs,
    });
  const groth16 = of('snarkjs')?.median['verifyMs'];
  if (groth16 !== undefined)
    targets.push({
      what: 'MLP 784-64-10: verify against Groth16',
      target: 'faster',
      got: `${round(groth16 / verifyMs)} times`,
      met: groth16 > verifyMs,
    });
  return targets;
}
