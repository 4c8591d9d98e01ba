/**
 * Batches of matrix products of packed operands: a is [batch][row][term], c is [batch][column][term]. Rows of terms are
 * `stride` apart, filled up with zeros.
 */
import { INTEGER_BOUND } from '@haca/circuit';
import { centred, P } from './cells.ts';

export interface MatrixProduct {
  /** Offsets in the result: the cell of (batch, row, column) is at the sum of the three. */
  readonly batches: Int32Array;
  readonly rows: Int32Array;
  readonly columns: Int32Array;
  readonly terms: number;
  readonly stride: number;
}

/** Sums, and sums of any of their terms, stay within ±INTEGER_BOUND. */
export type MultiplyInt16 = (y: Int32Array, product: MatrixProduct, a: Int16Array, c: Int16Array) => void;

export const multiplyInt16: MultiplyInt16 = (y, { batches, rows, columns, stride: terms }, a, c) => {
  const sizeA = rows.length * terms;
  const sizeC = columns.length * terms;
  for (let batch = 0; batch < batches.length; batch++) {
    const base = batches[batch] as number;
    let row = 0;
    for (; row + 1 < rows.length; row += 2) {
      const at = batch * sizeA + row * terms;
      const y0 = base + (rows[row] as number);
      const y1 = base + (rows[row + 1] as number);
      twoRows(y, y0, y1, columns, a, at, c, batch * sizeC, terms);
    }
    if (row < rows.length) {
      const y0 = base + (rows[row] as number);
      oneRow(y, y0, columns, a, batch * sizeA + row * terms, c, batch * sizeC, terms);
    }
  }
};

function twoRows(
  y: Int32Array,
  y0: number,
  y1: number,
  columns: Int32Array,
  a: Int16Array,
  a0: number,
  c: Int16Array,
  atC: number,
  terms: number,
): void {
  const a1 = a0 + terms;
  let column = 0;
  for (; column + 3 < columns.length; column += 4) {
    const c0 = atC + column * terms;
    const c1 = c0 + terms;
    const c2 = c1 + terms;
    const c3 = c2 + terms;
    let s00 = 0;
    let s01 = 0;
    let s02 = 0;
    let s03 = 0;
    let s10 = 0;
    let s11 = 0;
    let s12 = 0;
    let s13 = 0;
    for (let k = 0; k < terms; k++) {
      const x0 = a[a0 + k] as number;
      const x1 = a[a1 + k] as number;
      const w0 = c[c0 + k] as number;
      const w1 = c[c1 + k] as number;
      const w2 = c[c2 + k] as number;
      const w3 = c[c3 + k] as number;
      s00 = (s00 + Math.imul(x0, w0)) | 0;
      s01 = (s01 + Math.imul(x0, w1)) | 0;
      s02 = (s02 + Math.imul(x0, w2)) | 0;
      s03 = (s03 + Math.imul(x0, w3)) | 0;
      s10 = (s10 + Math.imul(x1, w0)) | 0;
      s11 = (s11 + Math.imul(x1, w1)) | 0;
      s12 = (s12 + Math.imul(x1, w2)) | 0;
      s13 = (s13 + Math.imul(x1, w3)) | 0;
    }
    const k0 = columns[column] as number;
    const k1 = columns[column + 1] as number;
    const k2 = columns[column + 2] as number;
    const k3 = columns[column + 3] as number;
    y[y0 + k0] = s00;
    y[y0 + k1] = s01;
    y[y0 + k2] = s02;
    y[y0 + k3] = s03;
    y[y1 + k0] = s10;
    y[y1 + k1] = s11;
    y[y1 + k2] = s12;
    y[y1 + k3] = s13;
  }
  for (; column < columns.length; column++) {
    const at = atC + column * terms;
    const to = columns[column] as number;
    y[y0 + to] = dot(a, a0, c, at, terms);
    y[y1 + to] = dot(a, a1, c, at, terms);
  }
}

function oneRow(
  y: Int32Array,
  y0: number,
  columns: Int32Array,
  a: Int16Array,
  a0: number,
  c: Int16Array,
  atC: number,
  terms: number,
): void {
  let column = 0;
  for (; column + 3 < columns.length; column += 4) {
    const c0 = atC + column * terms;
    const c1 = c0 + terms;
    const c2 = c1 + terms;
    const c3 = c2 + terms;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let k = 0; k < terms; k++) {
      const x = a[a0 + k] as number;
      s0 = (s0 + Math.imul(x, c[c0 + k] as number)) | 0;
      s1 = (s1 + Math.imul(x, c[c1 + k] as number)) | 0;
      s2 = (s2 + Math.imul(x, c[c2 + k] as number)) | 0;
      s3 = (s3 + Math.imul(x, c[c3 + k] as number)) | 0;
    }
    y[y0 + (columns[column] as number)] = s0;
    y[y0 + (columns[column + 1] as number)] = s1;
    y[y0 + (columns[column + 2] as number)] = s2;
    y[y0 + (columns[column + 3] as number)] = s3;
  }
  for (; column < columns.length; column++)
    y[y0 + (columns[column] as number)] = dot(a, a0, c, atC + column * terms, terms);
}

function dot(a: Int16Array, a0: number, c: Int16Array, c0: number, terms: number): number {
  let sum = 0;
  for (let k = 0; k < terms; k++) sum = (sum + Math.imul(a[a0 + k] as number, c[c0 + k] as number)) | 0;
  return sum;
}

type Dot = (a: Int32Array, a0: number, c: Int32Array, c0: number, terms: number) => number;

function multiply(y: Int32Array, product: MatrixProduct, a: Int32Array, c: Int32Array, dotOf: Dot): void {
  const { batches, rows, columns, terms, stride } = product;
  for (let batch = 0; batch < batches.length; batch++)
    for (let row = 0; row < rows.length; row++) {
      const a0 = (batch * rows.length + row) * stride;
      const to = (batches[batch] as number) + (rows[row] as number);
      for (let column = 0; column < columns.length; column++)
        y[to + (columns[column] as number)] = dotOf(
          a,
          a0,
          c,
          (batch * columns.length + column) * stride,
          terms,
        );
    }
}

/** Sums stay below 2^53: exact in doubles, reduced at the end. */
export function multiplyExact(y: Int32Array, product: MatrixProduct, a: Int32Array, c: Int32Array): void {
  multiply(y, product, a, c, (left, a0, right, c0, terms) => {
    let sum = 0;
    for (let k = 0; k < terms; k++) sum += (left[a0 + k] as number) * (right[c0 + k] as number);
    if (sum >= -INTEGER_BOUND && sum <= INTEGER_BOUND) return sum;
    const rest = sum % P;
    return centred(rest < 0 ? rest + P : rest);
  });
}

/** Any integers within ±INTEGER_BOUND: reduced product by product. */
export function multiplyResidues(y: Int32Array, product: MatrixProduct, a: Int32Array, c: Int32Array): void {
  multiply(y, product, a, c, (left, a0, right, c0, terms) => {
    let sum = 0;
    for (let k = 0; k < terms; k++)
      sum = centredProductSum(sum, left[a0 + k] as number, right[c0 + k] as number);
    return sum;
  });
}

/** sum + x · w mod p, centred: the quotient from the rounded product, the rest modulo 2^32. */
function centredProductSum(sum: number, x: number, w: number): number {
  const quotient = Math.floor((x * w + sum) / P) | 0;
  const rest = (sum + Math.imul(x, w) - Math.imul(quotient, P)) | 0;
  return centred(rest < 0 ? rest + P : rest >= P ? rest - P : rest);
}
