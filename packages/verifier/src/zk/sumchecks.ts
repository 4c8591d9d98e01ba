/** Sumchecks as the verifier sees them: messages in, a claim at a random point out. */
import { type Ext, inverseCoordinates, nextClaim, SUMCHECK_MESSAGE_LENGTH } from '@haca/primitives/zk';
import { type Gate, Rejection } from './checks.ts';
import type { StepReader } from './proof-reader.ts';

export interface Reduced {
  readonly claim: Ext;
  readonly point: readonly Ext[];
}

/** `rounds` rounds in `format`, under one label. */
export function sumcheck(
  reader: StepReader,
  label: number,
  format: 'SC2' | 'SC3',
  claim: Ext,
  rounds: number,
): Reduced {
  const point: Ext[] = [];
  let current = claim;
  for (let round = 0; round < rounds; round++) {
    const message = reader.readExts(label, SUMCHECK_MESSAGE_LENGTH[format]);
    const challenge = reader.challengeExt(label);
    current = nextClaim(format, current, message, challenge) as Ext;
    point.push(challenge);
  }
  return { claim: current, point };
}

/** EQ2: the claim is on Σ eq(eqPoint, x) g(x); what is left is a claim on g alone. */
export function eqSumcheck(
  reader: StepReader,
  gate: Gate,
  label: number,
  claim: Ext,
  eqPoint: readonly Ext[],
  place: string,
): Reduced {
  if (eqPoint.length === 0) return { claim, point: [] };
  const inverses = inverseCoordinates(eqPoint);
  gate.require('zero-coordinate', inverses !== undefined, place);
  if (inverses === undefined) throw new Rejection('zero-coordinate', place);
  const point: Ext[] = [];
  let current = claim;
  for (const [round, coordinate] of eqPoint.entries()) {
    const message = reader.readExts(label, SUMCHECK_MESSAGE_LENGTH.EQ2);
    const challenge = reader.challengeExt(label);
    current = nextClaim('EQ2', current, message, challenge, coordinate, inverses[round] as Ext) as Ext;
    point.push(challenge);
  }
  return { claim: current, point };
}
