/**
 * GKR over the tree of fractions: the sum of all leaves is zero, if the numerators and denominators at the point that is
 * left are what is claimed (Papini and Haböck, 2023/1284). Node i of a level is the sum of nodes i and i + 2^j below.
 */
import { EXT_ZERO, type Ext, extAdd, extIsZero, extMul, extSub, LABELS } from '@haca/primitives/zk';
import type { Gate } from './checks.ts';
import type { StepReader } from './proof-reader.ts';
import { eqSumcheck } from './sumchecks.ts';

export interface LeafClaim {
  readonly point: readonly Ext[];
  readonly numerator: Ext;
  readonly denominator: Ext;
}

/** `treeBits` is at least 1. */
export function verifyFractionTree(reader: StepReader, gate: Gate, treeBits: number): LeafClaim {
  const root = readChildren(reader);
  gate.requireEqual('gkr-root', numeratorOf(root), EXT_ZERO, 'the root');
  gate.require('zero-denominator', !extIsZero(extMul(root.q0, root.q1)), 'a root of denominator zero');
  let leaf = descend(reader, root, []);
  for (let level = 1; level < treeBits; level++) {
    const lambda = reader.challengeExt(LABELS.GKR_LAMBDA);
    const claim = extAdd(leaf.numerator, extMul(lambda, leaf.denominator));
    const place = `layer ${level}`;
    const reduced = eqSumcheck(reader, gate, LABELS.GKR_ROUND, claim, leaf.point, place);
    const children = readChildren(reader);
    const combined = extAdd(numeratorOf(children), extMul(lambda, extMul(children.q0, children.q1)));
    gate.requireEqual('gkr-layer', combined, reduced.claim, place);
    leaf = descend(reader, children, reduced.point);
  }
  return leaf;
}

interface Children {
  readonly p0: Ext;
  readonly p1: Ext;
  readonly q0: Ext;
  readonly q1: Ext;
}

function readChildren(reader: StepReader): Children {
  const [p0, p1, q0, q1] = reader.readExts(LABELS.GKR_VALUES, 4) as readonly [Ext, Ext, Ext, Ext];
  return { p0, p1, q0, q1 };
}

const numeratorOf = ({ p0, p1, q0, q1 }: Children): Ext => extAdd(extMul(p0, q1), extMul(p1, q0));

function descend(reader: StepReader, { p0, p1, q0, q1 }: Children, below: readonly Ext[]): LeafClaim {
  const mu = reader.challengeExt(LABELS.GKR_VALUES);
  return {
    point: [mu, ...below],
    numerator: extAdd(p0, extMul(mu, extSub(p1, p0))),
    denominator: extAdd(q0, extMul(mu, extSub(q1, q0))),
  };
}
