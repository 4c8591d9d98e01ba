/** Matrix products by the compiled kernel, where it was built; else, and for very small ones, by the plain one. */
import { readFileSync } from 'node:fs';
import { type WasmMemory, webAssembly } from '@haca/platform/web-assembly';
import { type MatrixProduct, type MultiplyInt16, multiplyInt16 } from './matrix-product.ts';

const PAGE_BYTES = 65536;
/** Operands and results go through the module's memory in pieces of about this size. */
const PIECE_BYTES = 1 << 22;
/** Below this many products the way into the module costs more than it saves. */
const LEAST_PRODUCTS = 2048;

interface Exports {
  readonly memory: WasmMemory;
  readonly heapStart: () => number;
  readonly multiply: (
    a: number,
    c: number,
    y: number,
    batches: number,
    rows: number,
    columns: number,
    stride: number,
  ) => void;
}

let fastest: MultiplyInt16 | undefined;

/** The kernel is loaded at the first call. */
export function fastMultiplyInt16(): MultiplyInt16 {
  fastest ??= loadKernel() ?? multiplyInt16;
  return fastest;
}

/** Null where the module is missing or the engine cannot run it. */
export function loadKernel(): MultiplyInt16 | null {
  try {
    const bytes = new Uint8Array(readFileSync(new URL('../../build/matrix-product.wasm', import.meta.url)));
    return wasmMultiply(
      new webAssembly.Instance(new webAssembly.Module(bytes)).exports as unknown as Exports,
    );
  } catch {
    return null;
  }
}

/** Ranges of batches, rows and columns of one call. */
interface Piece {
  readonly batches: number;
  readonly rows: number;
  readonly columns: number;
}

function wasmMultiply(exports: Exports): MultiplyInt16 {
  const start = exports.heapStart();
  const reserve = (size: number): void => {
    const missing = start + size - exports.memory.buffer.byteLength;
    if (missing > 0) exports.memory.grow(Math.ceil(missing / PAGE_BYTES));
  };
  return (y, product, a, c) => {
    const { batches, rows, columns, stride } = product;
    if (batches.length * rows.length * columns.length * stride < LEAST_PRODUCTS) {
      multiplyInt16(y, product, a, c);
      return;
    }
    const piece = pieceOf(product);
    const atA = start;
    const atC = atA + align(2 * piece.batches * piece.rows * stride);
    const atY = atC + align(2 * piece.batches * piece.columns * stride);
    reserve(atY + align(4 * piece.batches * piece.rows * piece.columns) - start);
    const shorts = new Int16Array(exports.memory.buffer);
    const words = new Int32Array(exports.memory.buffer);
    for (const [batch, batchCount] of cut(batches.length, piece.batches))
      for (const [row, rowCount] of cut(rows.length, piece.rows)) {
        const fromA = (batch * rows.length + row) * stride;
        shorts.set(a.subarray(fromA, fromA + batchCount * rowCount * stride), atA / 2);
        for (const [column, columnCount] of cut(columns.length, piece.columns)) {
          const fromC = (batch * columns.length + column) * stride;
          shorts.set(c.subarray(fromC, fromC + batchCount * columnCount * stride), atC / 2);
          exports.multiply(atA, atC, atY, batchCount, rowCount, columnCount, stride);
          const result = words.subarray(atY / 4, atY / 4 + batchCount * rowCount * columnCount);
          scatter(y, result, {
            batches: batches.subarray(batch, batch + batchCount),
            rows: rows.subarray(row, row + rowCount),
            columns: columns.subarray(column, column + columnCount),
          });
        }
      }
  };
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

/** Several whole batches, or a part of one: its rows and columns. */
function pieceOf({ batches, rows, columns, stride }: MatrixProduct): Piece {
  const rowBytes = 2 * stride;
  const batchBytes = rowBytes * (rows.length + columns.length) + 4 * rows.length * columns.length;
  if (batchBytes <= PIECE_BYTES) {
    const count = Math.max(1, Math.floor(PIECE_BYTES / batchBytes));
    return { batches: Math.min(batches.length, count), rows: rows.length, columns: columns.length };
  }
  const most = Math.max(1, Math.floor(PIECE_BYTES / 3 / rowBytes));
  const rowCount = Math.min(rows.length, most, 1024);
  const columnCount = Math.min(columns.length, most, Math.floor(PIECE_BYTES / 12 / rowCount));
  return { batches: 1, rows: rowCount, columns: Math.max(1, columnCount) };
}

/** Start and length of parts of at most `size`. */
function cut(length: number, size: number): (readonly [number, number])[] {
  const parts: (readonly [number, number])[] = [];
  for (let at = 0; at < length; at += size) parts.push([at, Math.min(size, length - at)]);
  return parts;
}

function scatter(
  y: Int32Array,
  result: Int32Array,
  { batches, rows, columns }: Pick<MatrixProduct, 'batches' | 'rows' | 'columns'>,
): void {
  let at = 0;
  for (let batch = 0; batch < batches.length; batch++)
    for (let row = 0; row < rows.length; row++) {
      const to = (batches[batch] as number) + (rows[row] as number);
      for (let column = 0; column < columns.length; column++)
        y[to + (columns[column] as number)] = result[at++] as number;
    }
}
