/** What a backend must give: the same as another one, to the last bit, for random requests of every kind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type BaseValues,
  type Ext,
  type ExtVector,
  extVector,
  extVectorToList,
  P,
  setExt,
} from '@haca/primitives/zk';
import { createRandom } from '@haca/testkit';
import type {
  AxisUse,
  CellMask,
  Column,
  CommittedTree,
  LeafSegment,
  ProverBackend,
  Sumcheck,
  Vector,
} from '../src/backend.ts';

export interface Random {
  readonly integer: (lo: number, hi: number) => number;
  readonly ext: () => Ext;
  readonly point: (length: number) => Ext[];
  /** Small integers or residues of a random width. */
  readonly base: (length: number) => BaseValues;
  readonly extension: (length: number) => ExtVector;
}

export function randomOf(seed: number): Random {
  const uniform = createRandom(seed);
  const integer = (lo: number, hi: number): number => lo + Math.floor(uniform() * (hi - lo + 1));
  const residue = (): number => {
    const edge = integer(0, 9);
    return edge === 0 ? 0 : edge === 1 ? P - 1 : edge === 2 ? 1 : integer(0, P - 1);
  };
  const ext = (): Ext => [residue(), residue(), residue(), residue(), residue()];
  return {
    integer,
    ext,
    point: (length) => Array.from({ length }, ext),
    base: (length) => {
      const fill = <T extends BaseValues>(values: T, lo: number, hi: number): T => {
        for (let i = 0; i < values.length; i++)
          values[i] = integer(0, 4) === 0 ? (integer(0, 1) ? lo : hi) : integer(lo, hi);
        return values;
      };
      switch (integer(0, 4)) {
        case 0:
          return fill(new Int8Array(length), -128, 127);
        case 1:
          return fill(new Uint8Array(length), 0, 255);
        case 2:
          return fill(new Int16Array(length), -32768, 32767);
        case 3:
          return fill(new Int32Array(length), -1006632960, 1006632960);
        default:
          return fill(new Uint32Array(length), 0, P - 1);
      }
    },
    extension: (length) => {
      const vector = extVector(length);
      for (let i = 0; i < length; i++) setExt(vector, i, ext());
      return vector;
    },
  };
}

/** Runs one scenario on both backends; everything that it returns must be equal. */
function agree(
  name: string,
  backends: readonly [ProverBackend, ProverBackend],
  seeds: number,
  scenario: (backend: ProverBackend, random: Random) => unknown,
): void {
  test(`${backends[0].name} agrees with ${backends[1].name}: ${name}`, () => {
    for (let seed = 1; seed <= seeds; seed++) {
      const [got, expected] = backends.map((backend) => scenario(backend, randomOf(seed)));
      assert.deepEqual(got, expected, `seed ${seed}`);
    }
  });
}

const download = (backend: ProverBackend, vector: Vector): Ext[] => {
  const list = extVectorToList(backend.download(vector));
  backend.release(vector);
  return list;
};

/** Runs all rounds with random challenges. */
function transcriptOf(sumcheck: Sumcheck, random: Random): unknown[] {
  const messages: unknown[] = [];
  for (let round = 0; round < sumcheck.rounds; round++) {
    messages.push(sumcheck.round());
    sumcheck.bind(random.ext());
  }
  return messages;
}

function maskOf(axisBits: readonly number[], random: Random): CellMask {
  return {
    axisBits,
    extents: axisBits.map((bits) => (bits === 0 ? 1 : random.integer(2 ** (bits - 1) + 1, 2 ** bits))),
  };
}

/** Splits `bits` over axes, some of none. */
function splitBits(bits: number, random: Random): number[] {
  const axes: number[] = [];
  let rest = bits;
  while (rest > 0 || axes.length === 0) {
    const width = random.integer(0, Math.min(rest, 4));
    axes.push(width);
    rest -= width;
  }
  return axes;
}

function shuffled(list: readonly number[], random: Random): number[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.integer(0, i);
    [out[i], out[j]] = [out[j] as number, out[i] as number];
  }
  return out;
}

/** Columns over fresh vectors: whole ones, parts with gaps, blocks from the middle of a vector. */
function randomColumns(backend: ProverBackend, columnBits: number, count: number, random: Random): Column[] {
  const size = 2 ** columnBits;
  return Array.from({ length: count }, () => {
    if (random.integer(0, 2) === 0) {
      const vector = backend.upload(random.base(4 * size));
      return { pieces: [{ vector, from: size * random.integer(0, 3), length: size, offset: 0 }] };
    }
    const pieces: Column['pieces'][number][] = [];
    let offset = 0;
    for (let bits = columnBits - 1; bits >= 0; bits--) {
      const length = 2 ** bits;
      if (random.integer(0, 3) > 0)
        pieces.push({ vector: backend.upload(random.base(length)), from: 0, length, offset });
      offset += length;
    }
    return { pieces };
  });
}

function openingsOf(tree: CommittedTree, leaves: number): unknown {
  const opened = Array.from({ length: leaves }, (_, i) => [[...tree.leaf(i)], [...tree.path(i)]]);
  const cap = [...tree.cap];
  tree.release();
  return [cap, opened];
}

function commitments(backends: readonly [ProverBackend, ProverBackend]): void {
  agree('columns', backends, 12, (backend, random) => {
    const columnBits = random.integer(1, 6);
    const blowupBits = random.integer(1, 3);
    const columns = randomColumns(backend, columnBits, random.integer(1, 40), random);
    const tree = backend.commitColumns({ columns, columnBits, blowupBits, capBits: random.integer(0, 7) });
    return openingsOf(tree, 2 ** (columnBits + blowupBits));
  });
  agree('columns at a point and combined', backends, 12, (backend, random) => {
    const columnBits = random.integer(1, 7);
    const columns = randomColumns(backend, columnBits, random.integer(1, 9), random);
    const values = backend.evaluateColumns(columns, random.point(columnBits));
    const weights = random.point(columns.length);
    return [values, download(backend, backend.combineColumns(columns, columnBits, weights))];
  });
  agree('rows', backends, 12, (backend, random) => {
    const columnBits = random.integer(1, 7);
    const columns = randomColumns(backend, columnBits, random.integer(2, 6), random);
    const groups = Array.from({ length: random.integer(1, 5) }, () => {
      const chosen = shuffled(
        columns.map((_, i) => i),
        random,
      ).slice(0, random.integer(1, 3));
      const single = chosen.length === 1 && random.integer(0, 1) === 0;
      return {
        columns: chosen.map((i) => ({
          column: columns[i] as Column,
          weight: single ? ([1, 0, 0, 0, 0] as const) : random.ext(),
        })),
        eqs: Array.from({ length: random.integer(1, 3) }, () => {
          const bits = random.integer(0, columnBits);
          const offset = 2 ** bits * random.integer(0, 2 ** (columnBits - bits) - 1);
          return { offset, point: random.point(bits), weight: random.ext() };
        }),
      };
    });
    const sumcheck = backend.rowSumcheck({ columnBits, groups });
    const messages = transcriptOf(sumcheck, random);
    sumcheck.release();
    return messages;
  });
  agree('folds', backends, 10, (backend, random) => {
    const folds = Array.from({ length: random.integer(1, 3) }, () => random.integer(1, 3));
    const bits = folds.reduce((sum, fold) => sum + fold, random.integer(1, 3));
    const folding = backend.fold(backend.uploadExtension(random.extension(2 ** bits)), random.point(bits));
    const blowupBits = random.integer(1, 3);
    let depth = bits + blowupBits;
    const seen = folds.map((fold) => {
      const tree = folding.commit(fold, blowupBits, 7);
      const rounds = Array.from({ length: fold }, () => {
        const message = folding.round();
        folding.bind(random.ext());
        return message;
      });
      depth -= fold;
      return [rounds, openingsOf(tree, 2 ** depth)];
    });
    const values = folding.values();
    folding.release();
    return [seen, values];
  });
  agree('proof of work', backends, 3, (backend, random) => {
    const seed = Uint8Array.from({ length: 32 }, () => random.integer(0, 255));
    return [0, 1, 7, 8, 11].map((bits) => [...backend.grind(seed, bits)]);
  });
}

function evaluations(backends: readonly [ProverBackend, ProverBackend]): void {
  agree('values at a point', backends, 20, (backend, random) => {
    const bits = random.integer(0, 9);
    const vectors = Array.from({ length: random.integer(1, 6) }, () =>
      backend.upload(random.base(2 ** bits)),
    );
    vectors.push(backend.uploadExtension(random.extension(2 ** bits)));
    return backend.evaluate(vectors, random.point(bits));
  });
  agree('partial evaluation', backends, 40, (backend, random) => {
    const axisBits = splitBits(random.integer(0, 8), random);
    const length = 2 ** axisBits.reduce((sum, bits) => sum + bits, 0);
    const vector =
      random.integer(0, 3) === 0
        ? backend.uploadExtension(random.extension(length))
        : backend.upload(random.base(length));
    const axes = axisBits.map((bits): AxisUse => {
      const kind = random.integer(0, 4);
      if (kind <= 1) return { kind: 'keep', bits };
      if (kind === 2) return { kind: 'point', point: random.point(bits) };
      const rowBits = random.integer(0, 3);
      const size = 2 ** (kind === 3 ? bits : bits + rowBits);
      const table = random.extension(size);
      for (let i = 0; i < size; i++) if (random.integer(0, 1) === 0) setExt(table, i, [0, 0, 0, 0, 0]);
      const uploaded = backend.uploadExtension(table);
      return kind === 3
        ? { kind: 'weights', bits, weights: uploaded }
        : { kind: 'matrix', bits, rowBits, matrix: uploaded };
    });
    const staying = axes.flatMap(({ kind }, i) => (kind === 'keep' || kind === 'matrix' ? [i] : []));
    const order = random.integer(0, 1) === 0 ? staying : shuffled(staying, random);
    return download(backend, backend.partialEvaluate({ vector, axes, order }));
  });
  agree('sums of terms', backends, 20, (backend, random) => {
    const bits = random.integer(0, 7);
    const terms = Array.from({ length: random.integer(1, 4) }, () => {
      const map = shuffled(
        Array.from({ length: bits }, (_, i) => i),
        random,
      ).slice(0, random.integer(0, bits));
      const length = 2 ** map.length;
      const vector =
        random.integer(0, 1) === 0
          ? backend.upload(random.base(length))
          : backend.uploadExtension(random.extension(length));
      return { vector, coefficient: random.integer(0, P - 1), bits: map };
    });
    return download(backend, backend.combineTerms({ bits, constant: random.integer(0, P - 1), terms }));
  });
  agree('tables', backends, 20, (backend, random) => {
    const bits = random.integer(0, 7);
    const eqs = Array.from({ length: random.integer(1, 4) }, () => ({
      point: random.point(bits),
      weight: random.ext(),
    }));
    const axisBits = splitBits(bits, random);
    const axes = shuffled(
      axisBits.map((_, i) => i),
      random,
    );
    const cut = random.integer(0, axes.length);
    const tables = [axes.slice(0, cut), axes.slice(cut)]
      .filter((each) => each.length > 0)
      .map((each) => {
        const size = 2 ** each.reduce((sum, axis) => sum + (axisBits[axis] as number), 0);
        return { axes: each, vector: backend.uploadExtension(random.extension(size)) };
      });
    const rowBits = random.integer(0, 5);
    const ids = Int32Array.from({ length: 2 ** bits }, () => random.integer(0, 2 ** rowBits - 1));
    return [
      download(backend, backend.combineEqs(eqs)),
      download(backend, backend.outerProduct(axisBits, tables)),
      download(
        backend,
        backend.scatterEq({
          ids: backend.upload(ids),
          mask: maskOf(axisBits, random),
          point: random.point(bits),
          rowBits,
        }),
      ),
    ];
  });
}

function sumchecks(backends: readonly [ProverBackend, ProverBackend]): void {
  agree('products', backends, 60, (backend, random) => {
    const eqBits = random.integer(0, 4);
    const inner = random.integer(0, 5);
    const length = 2 ** (eqBits + inner);
    const factor = (): Vector =>
      random.integer(0, 1) === 0
        ? backend.upload(random.base(length))
        : backend.uploadExtension(random.extension(length));
    const cubic = random.integer(0, 1) === 0;
    // The mask of three factors is one of the inner variables; that of two may be of all.
    const mask = maskOf([eqBits, ...splitBits(inner, random)], random);
    const innerMask = { ...mask, extents: [2 ** eqBits, ...mask.extents.slice(1)] };
    const kind = random.integer(0, 3);
    const sumcheck = backend.productSumcheck({
      eqPoint: random.point(eqBits),
      format: cubic ? 'SC3' : 'SC2',
      a: factor(),
      c: kind === 0 || kind === 1 ? factor() : null,
      mask: kind === 0 && cubic ? innerMask : kind === 2 ? (cubic ? innerMask : mask) : null,
    });
    const messages = transcriptOf(sumcheck, random);
    const finals = sumcheck.finals().slice(0, kind === 0 || kind === 1 ? 2 : 1);
    sumcheck.release();
    return [sumcheck.rounds, messages, finals];
  });
  agree('fraction trees', backends, 30, (backend, random) => {
    const treeBits = random.integer(1, 9);
    const segments: LeafSegment[] = [];
    let offset = 0;
    for (let bits = treeBits - 1; bits >= 0; bits--) {
      if (random.integer(0, 3) === 0) continue;
      segments.push(randomSegment(backend, bits, offset, random));
      offset += 2 ** bits;
    }
    const tree = backend.fractionTree(treeBits, segments);
    const layers = Array.from({ length: treeBits - 1 }, (_, i) => {
      const layer = tree.layer(i + 1, random.ext(), random.point(i + 1));
      const messages = transcriptOf(layer, random);
      const finals = layer.finals();
      layer.release();
      return [messages, finals];
    });
    const seen = [tree.top, layers];
    tree.release();
    return seen;
  });
}

function randomSegment(backend: ProverBackend, bits: number, offset: number, random: Random): LeafSegment {
  const size = 2 ** bits;
  const terms = Array.from({ length: random.integer(0, 3) }, () => ({
    coefficient: random.ext(),
    vector: backend.upload(random.base(size)),
  }));
  const mask = maskOf(splitBits(bits, random), random);
  const kind = random.integer(0, 2);
  const blockBits = random.integer(0, bits);
  const blocks = Array.from({ length: 2 ** (bits - blockBits) }, (_, i) => i).filter(
    () => random.integer(0, 1) === 1,
  );
  return {
    bits,
    offset,
    numerator:
      kind === 0
        ? { kind: 'mask' }
        : kind === 1
          ? { kind: 'blocks', blockBits, blocks }
          : {
              kind: 'negated',
              vector: backend.upload(Uint32Array.from({ length: size }, () => random.integer(0, P - 1))),
            },
    mask,
    constant: random.ext(),
    terms,
    maskCoefficient: random.integer(0, 1) === 0 ? null : random.ext(),
  };
}

/** Registers one test for each kind of call. */
export function testConformance(backend: ProverBackend, reference: ProverBackend): void {
  const backends = [backend, reference] as const;
  commitments(backends);
  evaluations(backends);
  sumchecks(backends);
}
