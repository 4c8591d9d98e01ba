import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blake3 as independent } from '@noble/hashes/blake3.js';
import fc from 'fast-check';
import { concatBytes, toHex, UsageError, utf8Encode } from '../src/index.ts';
import {
  createTranscript,
  encodeExts,
  keyedHash,
  LABELS,
  P,
  type TranscriptRecord,
} from '../src/zk/index.ts';
import { anyExt } from './zk-reference.ts';

type Step =
  | { readonly kind: 'absorb'; readonly label: number; readonly bytes: Uint8Array }
  | { readonly kind: 'squeeze'; readonly label: number; readonly length: number };

const anyLabel = fc.oneof(fc.integer({ min: 1, max: 21 }), fc.nat(0xffff));
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('absorb' as const),
    label: anyLabel,
    bytes: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({ kind: fc.constant('squeeze' as const), label: anyLabel, length: fc.nat(200) }),
);
const anySteps = fc.array(anyStep, { maxLength: 12 });

/** What is squeezed by these steps and by a last challenge. */
function outputsOf(steps: readonly Step[]): string[] {
  const transcript = createTranscript();
  const outputs = steps.flatMap((step) => {
    if (step.kind === 'squeeze') return [toHex(transcript.squeeze(step.label, step.length))];
    transcript.absorb(step.label, step.bytes);
    return [];
  });
  return [...outputs, transcript.challengeExt(LABELS.BETA).join()];
}

function frame(
  kind: number,
  label: number,
  length: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const header = new Uint8Array(7);
  const view = new DataView(header.buffer);
  view.setUint8(0, kind);
  view.setUint16(1, label, true);
  view.setUint32(3, length, true);
  return concatBytes(header, payload);
}

test('challenges given by the specification', () => {
  const transcript = createTranscript();
  transcript.absorb(LABELS.HDR, utf8Encode('abc'));
  assert.deepEqual(transcript.challengeExts(LABELS.LOGUP, 2), [
    [1850650972, 965782220, 1976489668, 840010118, 1816180241],
    [1970442397, 476384793, 356012463, 896084170, 1812156924],
  ]);
  transcript.absorbExts(LABELS.GKR_VALUES, [[1, 2, 3, 4, 5]]);
  assert.deepEqual(
    transcript.challengeExt(LABELS.GKR_VALUES),
    [1857672757, 75674312, 958705336, 992432138, 811202761],
  );
  assert.deepEqual(transcript.challengeIndices(LABELS.QUERY, 3, 13), [8030, 1193, 6834]);
});

test('the ratchet agrees with its definition over an independent BLAKE3', () => {
  fc.assert(
    fc.property(anySteps, (steps) => {
      let state: Uint8Array = independent(new Uint8Array(0), {
        context: utf8Encode('haca zkml v1 transcript'),
      });
      let pending: Uint8Array = new Uint8Array(0);
      const transcript = createTranscript();
      for (const step of steps) {
        if (step.kind === 'absorb') {
          transcript.absorb(step.label, step.bytes);
          pending = concatBytes(pending, frame(1, step.label, step.bytes.length, step.bytes));
          continue;
        }
        const message = concatBytes(pending, frame(2, step.label, step.length));
        const out = independent(message, { key: state, dkLen: 32 + step.length });
        state = out.slice(0, 32);
        pending = new Uint8Array(0);
        assert.deepEqual(transcript.squeeze(step.label, step.length), out.slice(32));
      }
    }),
    { numRuns: 100 },
  );
});

test('transcripts of another context share no challenge', () => {
  const context = 'haca zkml v1 registration transcript';
  const other = createTranscript({ context });
  const state = independent(new Uint8Array(0), { context: utf8Encode(context) });
  const out = independent(frame(2, LABELS.BETA, 30), { key: state, dkLen: 62 });
  const bytes = other.squeeze(LABELS.BETA, 30);
  assert.deepEqual(bytes, out.slice(32));
  assert.notDeepEqual(bytes, createTranscript().squeeze(LABELS.BETA, 30));
});

test('labels are fixed', () => {
  assert.deepEqual(
    Object.values(LABELS),
    Array.from({ length: 22 }, (_, i) => i + 1),
  );
});

test('any flipped bit of any message changes every later challenge', () => {
  fc.assert(
    fc.property(anySteps, fc.nat(), fc.nat(), (steps, which, position) => {
      const absorbed = steps.flatMap((step, i) =>
        step.kind === 'absorb' && step.bytes.length > 0 ? [i] : [],
      );
      const index = absorbed[which % absorbed.length];
      if (index === undefined) return;
      const changed = steps.map((step, i) => {
        if (i !== index || step.kind !== 'absorb') return step;
        const bytes = step.bytes.slice();
        const bit = position % (8 * bytes.length);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
        return { ...step, bytes };
      });
      assertLaterDiffer(steps, changed, index);
    }),
    { numRuns: 200 },
  );
});

/** Outputs before the changed step stay, those after it change; empty outputs say nothing. */
function assertLaterDiffer(steps: readonly Step[], changed: readonly Step[], index: number): void {
  const before = outputsOf(steps);
  const after = outputsOf(changed);
  const unchanged = steps.slice(0, index).filter(({ kind }) => kind === 'squeeze').length;
  assert.deepEqual(after.slice(0, unchanged), before.slice(0, unchanged));
  for (let i = unchanged; i < before.length; i++) {
    // Short outputs may agree by chance.
    if ((before[i] as string).length > 16) assert.notEqual(after[i], before[i]);
  }
}

test('a label, a split, an order or an omission changes the challenges', () => {
  const base: readonly Step[] = [
    { kind: 'absorb', label: 1, bytes: Uint8Array.of(1, 2, 3, 4) },
    { kind: 'absorb', label: 2, bytes: new Uint8Array(0) },
    { kind: 'squeeze', label: 4, length: 30 },
    { kind: 'absorb', label: 7, bytes: Uint8Array.of(9) },
  ];
  const [first, second, third, last] = base as [Step, Step, Step, Step];
  const variants: readonly (readonly Step[])[] = [
    [{ ...first, label: 257 }, second, third, last],
    [second, first, third, last],
    [first, third, last],
    [first, second, last],
    [first, second, third],
    [first, second, { kind: 'squeeze', label: 5, length: 30 }, last],
    [first, second, { kind: 'squeeze', label: 4, length: 31 }, last],
    [first, second, third, third, last],
    [
      { kind: 'absorb', label: 1, bytes: Uint8Array.of(1, 2) },
      { kind: 'absorb', label: 1, bytes: Uint8Array.of(3, 4) },
      second,
      third,
      last,
    ],
    // The second frame's bytes as payload of the first.
    [{ kind: 'absorb', label: 1, bytes: Uint8Array.of(1, 2, 3, 4, 1, 2, 0, 0, 0, 0, 0) }, third, last],
  ];
  const challenges = [base, ...variants].map((steps) => outputsOf(steps).at(-1));
  assert.equal(new Set(challenges).size, challenges.length);
});

test('frames are prefix-free: different absorptions give different byte strings, none the start of another', () => {
  const absorbs = fc.array(fc.record({ label: anyLabel, bytes: fc.uint8Array({ maxLength: 12 }) }), {
    maxLength: 5,
  });
  /** The bytes hashed by the first squeeze, as the hasher sees them. */
  const hashed = (list: readonly { label: number; bytes: Uint8Array }[]): string => {
    let seen = '';
    const hasher = {
      keyedHash: (key: Uint8Array, bytes: Uint8Array, outBytes?: number): Uint8Array => {
        seen = toHex(bytes);
        return keyedHash(key, bytes, outBytes);
      },
    };
    const transcript = createTranscript({ hasher });
    for (const { label, bytes } of list) transcript.absorb(label, bytes);
    transcript.squeeze(LABELS.BETA, 30);
    return seen;
  };
  fc.assert(
    fc.property(absorbs, absorbs, (a, b) => {
      const [x, y] = [hashed(a), hashed(b)];
      const same =
        JSON.stringify(a.map((e) => [e.label, [...e.bytes]])) ===
        JSON.stringify(b.map((e) => [e.label, [...e.bytes]]));
      if (same) assert.equal(x, y);
      else assert.ok(!x.startsWith(y) && !y.startsWith(x));
    }),
    { numRuns: 300 },
  );
});

test('six bytes are reduced exactly, also next to multiples of p', () => {
  const prime = BigInt(P);
  const near = fc
    .tuple(fc.bigInt({ min: 0n, max: 2n ** 48n / prime }), fc.bigInt({ min: -2n, max: 2n }))
    .map(([multiple, offset]) => multiple * prime + offset)
    .filter((value) => value >= 0n && value < 2n ** 48n);
  const any = fc.oneof(near, fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }));
  fc.assert(
    fc.property(fc.tuple(any, any, any, any, any), (values) => {
      const hasher = {
        keyedHash: (): Uint8Array => {
          const out = new Uint8Array(62);
          for (const [k, value] of values.entries())
            for (let i = 0; i < 6; i++) out[32 + 6 * k + i] = Number((value >> BigInt(8 * i)) & 255n);
          return out;
        },
      };
      assert.deepEqual(
        createTranscript({ hasher }).challengeExt(LABELS.BETA).map(BigInt),
        values.map((value) => value % prime),
      );
    }),
    { numRuns: 1000 },
  );
});

test('challenges are canonical, one squeeze each', () => {
  const records: TranscriptRecord[] = [];
  const transcript = createTranscript({ record: (entry) => records.push(entry) });
  const challenges = transcript.challengeExts(LABELS.ETA, 50);
  assert.equal(records.length, 1);
  assert.equal(records[0]?.length, 1500);
  for (const challenge of challenges) for (const word of challenge) assert.ok(word >= 0 && word < P);
  assert.equal(new Set(challenges.map((challenge) => challenge.join())).size, 50);
  const indices = transcript.challengeIndices(LABELS.QUERY, 200, 5);
  assert.ok(indices.every((index) => Number.isInteger(index) && index >= 0 && index < 32));
  assert.equal(new Set(indices).size, 32);
  assert.deepEqual(transcript.challengeIndices(LABELS.QUERY, 2, 0), [0, 0]);
  assert.ok(transcript.challengeIndices(LABELS.QUERY, 100, 32).some((index) => index >= 2 ** 31));
});

test('a record names kind, label, length and digest of each message, and changes nothing', () => {
  fc.assert(
    fc.property(anySteps, fc.array(anyExt, { maxLength: 3 }), (steps, elements) => {
      const records: TranscriptRecord[] = [];
      const recorded = createTranscript({ record: (entry) => records.push(entry) });
      const plain = createTranscript();
      const expected: string[] = [];
      const note = (kind: string, label: number, bytes: Uint8Array): void => {
        expected.push(`${kind} ${label} ${bytes.length} ${toHex(keyedHash(new Uint8Array(32), bytes))}`);
      };
      for (const step of steps) {
        if (step.kind === 'absorb') {
          for (const transcript of [recorded, plain]) transcript.absorb(step.label, step.bytes);
          note('absorb', step.label, step.bytes);
        } else {
          note('squeeze', step.label, plain.squeeze(step.label, step.length));
          recorded.squeeze(step.label, step.length);
        }
      }
      recorded.absorbExts(LABELS.FINAL, elements);
      plain.absorb(LABELS.FINAL, encodeExts(elements));
      note('absorb', LABELS.FINAL, encodeExts(elements));
      assert.deepEqual(
        records.map(({ kind, label, length, digest }) => `${kind} ${label} ${length} ${toHex(digest)}`),
        expected,
      );
      assert.deepEqual(recorded.challengeExt(LABELS.BETA), plain.challengeExt(LABELS.BETA));
    }),
    { numRuns: 50 },
  );
});

test('labels and sizes out of range are refused', () => {
  const transcript = createTranscript();
  for (const label of [-1, 65536, 0.5]) {
    assert.throws(() => transcript.absorb(label, new Uint8Array(1)), UsageError);
    assert.throws(() => transcript.squeeze(label, 1), UsageError);
  }
  for (const length of [-1, 0.5]) assert.throws(() => transcript.squeeze(1, length), UsageError);
  for (const bits of [-1, 33, 0.5]) assert.throws(() => transcript.challengeIndices(1, 1, bits), UsageError);
  for (const count of [-1, 0.1]) {
    assert.throws(() => transcript.challengeExts(1, count), UsageError);
    assert.throws(() => transcript.challengeIndices(1, count, 4), UsageError);
  }
  // What was refused left no trace.
  assert.deepEqual(transcript.challengeExt(1), createTranscript().challengeExt(1));
});
