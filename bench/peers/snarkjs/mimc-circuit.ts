/**
 * A small real circuit: knowledge of x with MiMC(x) = y, where a round takes x to (x + c)^7. Four multiplications a
 * round, so four constraints, and 250 rounds. Written as the files circom would write, so that no compiler is needed.
 */
import { createHash } from 'node:crypto';
import { multiply, reduce, SCALAR_MODULUS, scalarBytes } from '../scalar-field.ts';
import { encodeIden3File, uint32, uint64 } from './iden3-file.ts';

const ROUNDS = 250;
const CONSTRAINTS_PER_ROUND = 4;
export const CONSTRAINTS = ROUNDS * CONSTRAINTS_PER_ROUND;

const ONE = 0;
const OUTPUT = 1;
const SECRET = 2;
const WIRES = CONSTRAINTS + 2;

/** Coefficients of wires. */
type Combination = readonly (readonly [wire: number, coefficient: bigint])[];

/** Wire of the product that a constraint defines; the last one is the output. */
function productWire(constraint: number): number {
  return constraint === CONSTRAINTS - 1 ? OUTPUT : SECRET + 1 + constraint;
}

/** The constraint system as `.r1cs`, version 1. */
export function encodeMimcCircuit(): Uint8Array {
  const header = Buffer.concat([
    uint32(32),
    scalarModulusBytes(),
    ...[WIRES, 1, 0, 1].map(uint32), // Wires, public outputs, public inputs, private inputs.
    uint64(WIRES),
    uint32(CONSTRAINTS),
  ]);
  const constraints = Array.from({ length: ROUNDS }, (_, round) => roundConstraints(round)).flat(2);
  const labels = Array.from({ length: WIRES }, (_, wire) => uint64(wire));
  return encodeIden3File('r1cs', 1, [
    { number: 1, content: header },
    { number: 2, content: Buffer.concat(constraints.map(encodeCombination)) },
    { number: 3, content: Buffer.concat(labels) },
  ]);
}

/** a · a = a2, a2 · a2 = a4, a4 · a2 = a6, a6 · a = a7, with a the sum of the last value and a constant. */
function roundConstraints(round: number): Combination[][] {
  const first = CONSTRAINTS_PER_ROUND * round;
  const value = round === 0 ? SECRET : productWire(first - 1);
  const a: Combination = [
    [ONE, roundConstant(round)],
    [value, 1n],
  ];
  const [a2 = [], a4 = [], a6 = [], a7 = []] = [0, 1, 2, 3].map(
    (at): Combination => [[productWire(first + at), 1n]],
  );
  return [
    [a, a, a2],
    [a2, a2, a4],
    [a4, a2, a6],
    [a6, a, a7],
  ];
}

export interface MimcWitness {
  /** All wires, as `.wtns`, version 2. */
  readonly file: Uint8Array;
  readonly output: bigint;
}

export function mimcWitness(secret: bigint): MimcWitness {
  const values = new Array<bigint>(WIRES).fill(0n);
  values[ONE] = 1n;
  values[SECRET] = reduce(secret);
  let value = reduce(secret);
  for (let round = 0; round < ROUNDS; round++) {
    const a = reduce(value + roundConstant(round));
    const a2 = multiply(a, a);
    const a4 = multiply(a2, a2);
    const a6 = multiply(a4, a2);
    value = multiply(a6, a);
    [a2, a4, a6, value].forEach((product, at) => {
      values[productWire(CONSTRAINTS_PER_ROUND * round + at)] = product;
    });
  }
  const file = encodeIden3File('wtns', 2, [
    { number: 1, content: Buffer.concat([uint32(32), scalarModulusBytes(), uint32(WIRES)]) },
    { number: 2, content: Buffer.concat(values.map(scalarBytes)) },
  ]);
  return { file, output: value };
}

function roundConstant(round: number): bigint {
  return reduce(BigInt(`0x${createHash('sha512').update(`MiMC round ${round}`).digest('hex')}`));
}

function encodeCombination(combination: Combination): Uint8Array {
  const terms = combination.flatMap(([wire, coefficient]) => [uint32(wire), scalarBytes(coefficient)]);
  return Buffer.concat([uint32(combination.length), ...terms]);
}

/** `scalarBytes` would reduce it to zero. */
function scalarModulusBytes(): Uint8Array {
  return Buffer.from(SCALAR_MODULUS.toString(16).padStart(64, '0'), 'hex').reverse();
}
