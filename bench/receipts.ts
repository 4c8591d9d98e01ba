/** What a full node does per core: settlements applied, receipts proved by inclusion, registrations appraised. */
import { createTestEnclave, createTestRoot, measureTestImage } from '@haca/attester';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import {
  merkleInclusionPath,
  merkleLeafHash,
  merkleRoot,
  utf8Encode,
  verifyMerkleInclusion,
} from '@haca/primitives';
import { pcrRegisters } from '@haca/protocol';
import { appraiseNitro } from '@haca/verifier';
import { operationsPerSecond, percentile, type Report, round } from './measure.ts';
import { applyBlock, makeSettlementChain, makeSettlements } from './settlement-fixture.ts';

const NODES = 400;
const ROUNDS = 8;
const RECEIPTS_PER_BATCH = 1024;
const NITRO_DOCUMENTS = 25;

export async function benchReceipts(): Promise<Report> {
  const signature = ed25519PerSecond();
  const settlements = settlementsPerSecond();
  const inclusions = inclusionsPerSecond();
  const nitroMs = await nitroColdMs();
  return {
    area: 'receipts: one core of a full node',
    figures: [
      { name: 'Ed25519 verification, bare', value: signature, unit: '/s', note: 'the anchor' },
      { name: 'batch settlements applied', value: settlements, unit: '/s', note: '2 signatures each' },
      { name: 'settlements per bare signature', value: settlements / signature, unit: '×' },
      {
        name: 'receipts so settled',
        value: settlements * RECEIPTS_PER_BATCH,
        unit: '/s',
        note: '1,024 a batch',
      },
      { name: 'receipts proved by inclusion', value: inclusions, unit: '/s', note: 'path of 10 hashes' },
      { name: 'Nitro document, cold', value: nitroMs, unit: 'ms', note: 'fresh leaf and CA keys, median' },
    ],
    targets: [
      target('batch settlements', '≥ 5,000/s', settlements, settlements >= 5000, '/s'),
      target('receipts by inclusion', '≥ 90,000/s', inclusions, inclusions >= 90_000, '/s'),
      target('Nitro document, cold', '≤ 3.5 ms', nitroMs, nitroMs <= 3.5, ' ms'),
    ],
    covers:
      `Settlements: decoding, both signatures, all guards, fees, ledgers and the app hash over ${NODES} nodes, without charge ` +
      'lines, consensus, disk or network.',
  };
}

function target(what: string, wanted: string, value: number, met: boolean, unit: string) {
  return { what, target: wanted, got: `${round(value).toLocaleString('en')}${unit}`, met };
}

function ed25519PerSecond(): number {
  const signer = ed25519SignerFromSeed(new Uint8Array(32).fill(9));
  const message = new Uint8Array(300).fill(7);
  const signature = signer.sign(message);
  return operationsPerSecond(() => {
    if (!nodeCrypto.verifyEd25519(signer.publicKey, message, signature))
      throw new Error('a good signature failed');
  });
}

/** Best round: machines are shared, and the first rounds warm the compiler. */
function settlementsPerSecond(): number {
  const chain = makeSettlementChain(NODES);
  let best = 0;
  for (const txs of makeSettlements(chain, ROUNDS)) {
    const startedAt = performance.now();
    const applied = applyBlock(chain, txs);
    best = Math.max(best, (applied * 1000) / (performance.now() - startedAt));
  }
  return best;
}

function inclusionsPerSecond(): number {
  const leaves = Array.from({ length: RECEIPTS_PER_BATCH }, (_, i) =>
    merkleLeafHash(utf8Encode(`receipt ${i}`)),
  );
  const root = merkleRoot(leaves);
  const paths = leaves.map((_, i) => merkleInclusionPath(leaves, i));
  let i = 0;
  return operationsPerSecond(() => {
    i = (i + 1) % RECEIPTS_PER_BATCH;
    const leaf = leaves[i];
    const path = paths[i];
    if (leaf === undefined || path === undefined) throw new Error('no such leaf');
    if (!verifyMerkleInclusion(leaf, i, RECEIPTS_PER_BATCH, path, root))
      throw new Error('a good path failed');
  });
}

const REQUEST = {
  bindingHash: new Uint8Array(64).fill(1),
  signPublicKey: new Uint8Array(32).fill(2),
  refBlockHash: new Uint8Array(32).fill(3),
};

async function nitroColdMs(): Promise<number> {
  const nowMs = 1_800_000_000_000;
  const root = createTestRoot(new Uint8Array(32).fill(5));
  const measurement = measureTestImage(utf8Encode('bench'));
  const samples: number[] = [];
  for (let i = 0; i < NITRO_DOCUMENTS; i++) {
    const enclave = createTestEnclave({ root, measurement, nowMs: () => nowMs });
    const document = await enclave.attest(REQUEST);
    const startedAt = performance.now();
    const { verdict } = appraiseNitro(document, {
      crypto: nodeCrypto,
      nowMs,
      revoked: [],
      roots: [{ sha256: root.sha256, simulated: true }],
      policy: {
        allowDebug: false,
        measurements: [{ kind: 'nitro', name: 'bench', registers: pcrRegisters(measurement) }],
        maxAgeMs: 60_000,
        maxFutureSkewMs: 60_000,
        userData: REQUEST.bindingHash,
        nonce: REQUEST.refBlockHash,
        publicKey: REQUEST.signPublicKey,
      },
    });
    samples.push(performance.now() - startedAt);
    if (!verdict.ok) throw new Error(`a good document failed: ${JSON.stringify(verdict.checks)}`);
  }
  return percentile(samples, 0.5);
}
