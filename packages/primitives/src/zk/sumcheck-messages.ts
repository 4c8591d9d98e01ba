/**
 * Messages of one sumcheck round: what the prover sends of the round polynomial s, and the claim that is left once the
 * verifier's challenge is in. "Infinity" is the leading coefficient.
 *
 * - `SC2` (degree 2): s(0), s(inf); s(1) = C - s(0).
 * - `SC3` (degree 3): s(0), s(2), s(inf); s(1) = C - s(0).
 * - `EQ2`, `EQ3`: the claim is on sum of eq(r, x) g(x). Sent are the same values of t, where s = eq_i * t and t has the
 *   degree of g; t(1) = (C - (1 - r_i) t(0)) / r_i, and the next claim is t at the challenge: eq is never evaluated.
 * - `EV1`: the same with t of degree 1, sent as t(0), t(1) and checked.
 */
import { UsageError } from '../errors.ts';
import { ONE_HALF } from './babybear.ts';
import {
  type Ext,
  extAdd,
  extBatchInverse,
  extEqual,
  extInverse,
  extIsZero,
  extMul,
  extScale,
  extSub,
} from './ext.ts';

export type SumcheckFormat = 'SC2' | 'SC3' | 'EQ2' | 'EQ3' | 'EV1';

/** Elements of F in one message. */
export const SUMCHECK_MESSAGE_LENGTH: Readonly<Record<SumcheckFormat, number>> = {
  SC2: 2,
  SC3: 3,
  EQ2: 2,
  EQ3: 3,
  EV1: 2,
};

/** The degree of the polynomial that is sent: the error of a round is this over |F|. */
export const SUMCHECK_MESSAGE_DEGREE: Readonly<Record<SumcheckFormat, number>> = {
  SC2: 2,
  SC3: 3,
  EQ2: 2,
  EQ3: 3,
  EV1: 1,
};

/**
 * The claim after a round, or undefined if the message has to be rejected: in `EV1` when it does not agree with the
 * claim, in `EQ2` and `EQ3` when the coordinate r_i of eq is zero, which leaves t(1) free.
 *
 * `eqCoordinate` is r_i, needed by the last three formats; `inverseEq` its inverse, computed here when left out. Throws
 * `UsageError` on a message of the wrong length or a missing coordinate.
 */
export function nextClaim(
  format: SumcheckFormat,
  claim: Ext,
  message: readonly Ext[],
  challenge: Ext,
  eqCoordinate?: Ext,
  inverseEq?: Ext,
): Ext | undefined {
  if (message.length !== SUMCHECK_MESSAGE_LENGTH[format]) {
    throw new UsageError(`a message of ${message.length} elements in ${format}`);
  }
  const atZero = message[0] as Ext;
  if (format === 'SC2' || format === 'SC3') {
    return interpolate(message, extSub(claim, atZero), challenge);
  }
  if (eqCoordinate === undefined) throw new UsageError(`${format} needs the coordinate of eq`);
  if (format === 'EV1') return evaluationClaim(claim, message, challenge, eqCoordinate);
  if (extIsZero(eqCoordinate)) return undefined;
  const rest = extAdd(extSub(claim, atZero), extMul(eqCoordinate, atZero));
  return interpolate(message, extMul(rest, inverseEq ?? extInverse(eqCoordinate)), challenge);
}

function evaluationClaim(claim: Ext, message: readonly Ext[], challenge: Ext, r: Ext): Ext | undefined {
  const [atZero, atOne] = message as readonly [Ext, Ext];
  const slope = extSub(atOne, atZero);
  if (!extEqual(extAdd(atZero, extMul(r, slope)), claim)) return undefined;
  return extAdd(atZero, extMul(challenge, slope));
}

/** The polynomial of degree 2 or 3 with this message and value at one, evaluated at `x`. */
function interpolate(message: readonly Ext[], atOne: Ext, x: Ext): Ext {
  const atZero = message[0] as Ext;
  const rise = extSub(atOne, atZero);
  if (message.length === 2) {
    const square = message[1] as Ext;
    return extAdd(atZero, extMul(x, extAdd(extSub(rise, square), extMul(x, square))));
  }
  const [, atTwo, cube] = message as readonly [Ext, Ext, Ext];
  // s(2) - 2 s(1) + s(0) = 2b + 6c for s = d + aX + bX^2 + cX^3.
  const secondDifference = extSub(extSub(atTwo, atOne), rise);
  const square = extSub(extScale(secondDifference, ONE_HALF), extScale(cube, 3));
  const line = extSub(extSub(rise, square), cube);
  return extAdd(atZero, extMul(x, extAdd(line, extMul(x, extAdd(square, extMul(x, cube))))));
}

/** The inverses of the coordinates of eq, or undefined if one is zero and the proof has to be rejected. */
export function inverseCoordinates(point: readonly Ext[]): Ext[] | undefined {
  return point.some(extIsZero) ? undefined : extBatchInverse(point);
}
