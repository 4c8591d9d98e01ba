/** Everything a proof says is in the transcript, in the order of the specification (spec/zkml.md, section 8). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capDigests, foldDepths, type Program, type Step } from '@haca/circuit';
import { bytesEqual } from '@haca/primitives';
import {
  DIGEST_BYTES,
  EXT_BYTES,
  K_LEAF,
  K_NODE,
  LABELS,
  portableZkKernels,
  type ZkKernels,
} from '@haca/primitives/zk';
import { mlp, moe, softmaxOnly, tinyConv, transformerBlock } from '@haca/testkit';
import { absorbedFrames, transcriptOf } from './verify-frames.ts';
import { assertAccepted, proofOf, smallest, subjectOf, verdictOn } from './verify-harness.ts';

const nameOf = (label: number): string =>
  Object.entries(LABELS).find(([, value]) => value === label)?.[0] ?? `${label}`;

test('ZK-22: the transcript of the smallest proof', async () => {
  const subject = await subjectOf(smallest());
  const log = transcriptOf(subject, await proofOf(subject));
  const lines: string[] = [];
  for (const { kind, label, length } of log) {
    const line = `${kind === 'absorb' ? '+' : '-'} ${nameOf(label)} ${length}`;
    lines.push(line);
  }
  assert.deepEqual(lines.slice(0, 24), [
    '+ HDR 245',
    '+ WCAP 1024',
    '+ ZCAP 1024',
    '- LOGUP 60',
    '+ GKR_VALUES 80',
    '- GKR_VALUES 30',
    '- GKR_LAMBDA 30',
    '+ GKR_ROUND 40',
    '- GKR_ROUND 30',
    '+ GKR_VALUES 80',
    '- GKR_VALUES 30',
    '- GKR_LAMBDA 30',
    '+ GKR_ROUND 40',
    '- GKR_ROUND 30',
    '+ GKR_ROUND 40',
    '- GKR_ROUND 30',
    '+ GKR_VALUES 80',
    '- GKR_VALUES 30',
    '- GKR_LAMBDA 30',
    '+ GKR_ROUND 40',
    '- GKR_ROUND 30',
    '+ GKR_ROUND 40',
    '- GKR_ROUND 30',
    '+ GKR_ROUND 40',
  ]);
});

/** The order as the specification has it, from the program alone. */
function expectedOrder(program: Program): string[] {
  const lines: string[] = [];
  const say = (label: keyof typeof LABELS, elements: number): void => {
    if (elements > 0) lines.push(`+ ${label} ${EXT_BYTES * elements}`);
  };
  const draw = (label: keyof typeof LABELS, elements = 1): void => {
    if (elements > 0) lines.push(`- ${label} ${30 * elements}`);
  };
  const rounds = (label: keyof typeof LABELS, count: number, elements: number): void => {
    for (let i = 0; i < count; i++) {
      say(label, elements);
      draw(label);
    }
  };
  const { opening, treeBits } = program;
  const cap = (depth: number): number => DIGEST_BYTES * capDigests(depth);
  const depth = opening.columnBits + opening.blowupBits;
  const publicTensors = program.inputs.length + program.outputs.length;
  lines.push(
    `+ HDR ${9 + 4 * 32 + 12 + 32 * publicTensors + 32}`,
    `+ WCAP ${cap(depth)}`,
    `+ ZCAP ${cap(depth)}`,
  );
  draw('LOGUP', 2);
  for (let level = 0; level < treeBits; level++) {
    if (level > 0) draw('GKR_LAMBDA');
    rounds('GKR_ROUND', level, 2);
    say('GKR_VALUES', 4);
    draw('GKR_VALUES');
  }
  const sentOf = (fills: readonly { readonly from: string }[]): number =>
    fills.filter(({ from }) => from === 'sent').length;
  const ofStep = (step: Step): void => {
    switch (step.kind) {
      case 'handover':
        say('SEGMENTS', sentOf(step.fills));
        break;
      case 'sum':
        say('OP_VALUES', sentOf(step.fills));
        break;
      case 'aggregate':
        draw('AGGREGATE');
        rounds('OP_ROUND', step.rounds.length, 2);
        say('OP_VALUES', 1);
        break;
      case 'contract': {
        rounds('OP_ROUND', step.eqRounds.length, 2);
        const inner = step.contracted.reduce((sum, each) => sum + each.rounds.length, 0);
        rounds('OP_ROUND', inner, step.format === 'SC3' ? 3 : 2);
        say('OP_VALUES', sentOf(step.c === null ? [step.a] : [step.a, step.c]));
        break;
      }
      case 'wire':
        rounds(
          'OP_ROUND',
          step.summed.reduce((sum, each) => sum + each.rounds.length, 0),
          2,
        );
        say('OP_VALUES', sentOf([step.x]));
        break;
      case 'gather':
        rounds('OP_ROUND', step.rounds.length, 2);
        say('OP_VALUES', sentOf([step.table]));
        break;
      case 'tie':
        draw('OBLIGATION', step.fresh.length);
        if (!('maskExtents' in step.side)) say('OBLIGATION', sentOf([step.side]));
        break;
      case 'output':
        draw('OBLIGATION', step.fresh.length);
        rounds('OP_ROUND', step.rounds.length, 2);
        say('OBLIGATION', 1);
        break;
      case 'public':
        break;
    }
  };
  program.steps.forEach(ofStep);
  draw('BETA');
  rounds('ROW_ROUND', opening.columnBits, 2);
  say('COLUMN_VALUES', opening.weightColumns + opening.witnessColumns);
  draw('ETA', opening.selectorBits);
  const depths = foldDepths(opening);
  opening.folds.forEach((fold, layer) => {
    lines.push(`+ FOLD_CAP ${cap(depths[layer] as number)}`);
    rounds('FOLD_ROUND', fold, 2);
  });
  say('FINAL', 2 ** opening.finalBits);
  lines.push('- POW 32', '+ POW 8', `- QUERY ${4 * opening.queries}`);
  return lines;
}

const EXAMPLES = {
  smallest,
  mlp: () => mlp([6, 5, 4, 3]),
  convolution: () => tinyConv(),
  'causal softmax': () => softmaxOnly(4, true),
  transformer: () => transformerBlock(),
  experts: () => moe(),
};

for (const [name, example] of Object.entries(EXAMPLES))
  test(`ZK-21: ${name}: order and lengths follow from the program; what is read is absorbed or authenticated`, async () => {
    for (const batchSize of [1, 2]) {
      const subject = await subjectOf(example(), { batchSize });
      const { program } = subject;
      const proof = await proofOf(subject);
      const log = transcriptOf(subject, proof).map(
        ({ kind, label, length }) => `${kind === 'absorb' ? '+' : '-'} ${nameOf(label)} ${length}`,
      );
      assert.deepEqual(log, expectedOrder(program));

      const absorbed = absorbedFrames(subject, proof).reduce((sum, { length }) => sum + length, 0);
      assert.equal(9 + absorbed + authenticatedBytes(subject, proof), program.proofBytes);
    }
  });

/** Bytes of rows, folded values and paths that go into the hashes of leaves and nodes, the computed ones left out. */
function authenticatedBytes(subject: Parameters<typeof verdictOn>[0], proof: Uint8Array): number {
  const { opening } = subject.program;
  let bytes = 0;
  let leaves = 0;
  const hashMany: ZkKernels['hashMany'] = (request) => {
    const key = request.key as Uint8Array;
    if (bytesEqual(key, K_LEAF)) {
      // In trees of folds one value of each leaf is the verifier's own.
      bytes += request.count * (request.messageBytes - (leaves < 2 ? 0 : EXT_BYTES));
      leaves++;
    } else {
      assert.ok(bytesEqual(key, K_NODE));
      bytes += request.count * DIGEST_BYTES;
    }
    portableZkKernels.hashMany(request);
  };
  assertAccepted(verdictOn(subject, proof, { kernels: { ...portableZkKernels, hashMany } }));
  assert.equal(leaves, 2 + opening.folds.length);
  return bytes;
}
