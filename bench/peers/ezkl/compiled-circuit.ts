/**
 * Compiled circuits as @ezkljs/engine 21 reads them: bincode of its graph of nodes, of its settings, and of an empty
 * witness, in the order of the fields of its public structures. The engine can't read ONNX itself: its command line
 * tool writes these files, and it is no npm package.
 */
import type { Layer } from '../sample-mlp.ts';
import { scalarBytes } from '../scalar-field.ts';
import { type BincodeWriter, createBincodeWriter } from './bincode.ts';

/** How the engine lays a circuit out. */
export interface CircuitLayout {
  /** Rows of the circuit: 2^logRows. */
  readonly logRows: number;
  /** Columns that are filled side by side. */
  readonly innerColumns: number;
  /** Integers are range-checked in so many digits of this base. */
  readonly decompositionBase: number;
  readonly decompositionDigits: number;
}

/** Rows at the end of a column that the proof system keeps for itself, generously. */
const RESERVED_ROWS = 16;
/** Weights, biases and the input are plain integers: no fixed-point fraction. */
const SCALE = 0;
const INTEGER = 4;

const VISIBILITY = { private: 0, public: 1 } as const;
const OPERATION = { linear: 0, hybrid: 2, input: 3, constant: 4 } as const;
const LINEAR = { leakyRelu: 2, einsum: 8, add: 12 } as const;
const HYBRID = { divide: 8 } as const;
const UNSAFE_CHECKS = 1;
const KZG = 0;

interface Node {
  readonly operation: (out: BincodeWriter) => void;
  readonly inputs: readonly number[];
  readonly shape: readonly number[];
}

export function encodeCompiledCircuit(layers: readonly Layer[], layout: CircuitLayout): Uint8Array {
  const out = createBincodeWriter();
  const inputs = layers[0]?.weights[0]?.length ?? 0;
  writeGraph(out, graphOf(layers, inputs));
  writeSettings(out, layout, layers.at(-1)?.weights.length ?? 0);
  writeEmptyWitness(out, inputs);
  return out.bytes();
}

/** The settings once more, as JSON: the engine wants them apart from the circuit to verify. */
export function settingsJson(layers: readonly Layer[], layout: CircuitLayout): object {
  const { decompositionBase, decompositionDigits, innerColumns, logRows } = layout;
  return {
    run_args: {
      input_scale: SCALE,
      param_scale: SCALE,
      scale_rebase_multiplier: 10,
      lookup_range: [0, 0],
      logrows: logRows,
      num_inner_cols: innerColumns,
      variables: [['batch_size', 1]],
      input_visibility: 'Private',
      output_visibility: 'Public',
      param_visibility: 'Private',
      rebase_frac_zero_constants: false,
      check_mode: 'UNSAFE',
      commitment: 'KZG',
      decomp_base: decompositionBase,
      decomp_legs: decompositionDigits,
      bounded_log_lookup: false,
      ignore_range_check_inputs_outputs: false,
    },
    num_rows: rowsOf(layout),
    total_assignments: innerColumns * rowsOf(layout),
    total_const_size: 4,
    total_dynamic_col_size: 0,
    max_dynamic_input_len: 0,
    num_dynamic_lookups: 0,
    num_shuffles: 0,
    total_shuffle_col_size: 0,
    model_instance_shapes: [[1, layers.at(-1)?.weights.length ?? 0]],
    model_output_scales: [SCALE],
    model_input_scales: [SCALE],
    module_sizes: { polycommit: [], poseidon: [0, [0]] },
    required_lookups: [],
    required_range_checks: rangeChecks(layout),
    check_mode: 'UNSAFE',
    version: '0.0.0',
    num_blinding_factors: null,
    timestamp: null,
    input_types: null,
    output_types: null,
  };
}

/** One block of columns: the layout is chosen so that the circuit fits it, and more blocks would cost the prover more. */
function rowsOf({ logRows }: CircuitLayout): number {
  return 2 ** logRows - RESERVED_ROWS;
}

/** The sign of an integer, and a digit of it. */
function rangeChecks({ decompositionBase }: CircuitLayout): (readonly [number, number])[] {
  return [
    [-1, 1],
    [0, decompositionBase - 1],
  ];
}

function graphOf(layers: readonly Layer[], inputs: number): Node[] {
  const nodes: Node[] = [];
  const add = (node: Node): number => nodes.push(node) - 1;
  let current = add({ operation: writeInput, inputs: [], shape: [1, inputs] });
  for (const { weights, biases, divisor } of layers) {
    const shape = [1, weights.length];
    const matrix = add(constantNode(weights.flat(), [weights.length, weights[0]?.length ?? 0]));
    const einsum = (out: BincodeWriter): void => {
      writeLinear(out, LINEAR.einsum);
      out.text('mk,nk->mn');
    };
    current = add({ operation: einsum, inputs: [current, matrix], shape });
    const bias = add(constantNode(biases, shape));
    current = add({ operation: (out) => writeLinear(out, LINEAR.add), inputs: [current, bias], shape });
    if (divisor === undefined) continue;
    current = add({ operation: (out) => writeDivision(out, divisor), inputs: [current], shape });
    current = add({ operation: writeRelu, inputs: [current], shape });
  }
  return nodes;
}

function constantNode(values: readonly number[], shape: readonly number[]): Node {
  return { operation: (out) => writeConstant(out, values, shape), inputs: [], shape };
}

function writeGraph(out: BincodeWriter, nodes: readonly Node[]): void {
  out.list(nodes, (node) => {
    const index = nodes.indexOf(node);
    out.u64(index);
    out.u32(0); // A node, not a subgraph.
    node.operation(out);
    out.i32(SCALE);
    out.list(node.inputs, (input) => writeOutlet(out, input));
    out.list(node.shape, out.u64);
    out.u64(index);
    out.u64(1); // Each node is used once.
  });
  out.list([0], out.u64);
  out.list([nodes.length - 1], (node) => writeOutlet(out, node));
  out.list([INTEGER], out.u32);
  for (const visibility of [VISIBILITY.private, VISIBILITY.private, VISIBILITY.public]) out.u32(visibility);
}

/** The first and only output of a node. */
function writeOutlet(out: BincodeWriter, node: number): void {
  out.u64(node);
  out.u64(0);
}

function writeLinear(out: BincodeWriter, operation: number): void {
  out.u32(OPERATION.linear);
  out.u32(operation);
}

function writeInput(out: BincodeWriter): void {
  out.u32(OPERATION.input);
  out.i32(SCALE);
  out.u32(INTEGER);
  out.bool(true); // Range-checked.
}

/** Rounds to the nearest integer. */
function writeDivision(out: BincodeWriter, divisor: number): void {
  out.u32(OPERATION.hybrid);
  out.u32(HYBRID.divide);
  out.f32(divisor);
}

/** ReLU is the leaky one with slope 0. */
function writeRelu(out: BincodeWriter): void {
  writeLinear(out, LINEAR.leakyRelu);
  out.f32(0);
  out.i32(SCALE);
}

function writeConstant(out: BincodeWriter, values: readonly number[], shape: readonly number[]): void {
  out.u32(OPERATION.constant);
  out.list(values, (value) => out.raw(scalarBytes(BigInt(value))));
  out.list(shape, out.u64);
  out.some();
  out.i32(SCALE);
  out.some();
  out.u32(VISIBILITY.private);
  // The same values as floats, without scale and visibility.
  out.list(values, out.f32);
  out.list(shape, out.u64);
  out.none();
  out.none();
  out.bool(false);
}

function writeSettings(out: BincodeWriter, layout: CircuitLayout, outputs: number): void {
  writeRunArguments(out, layout);
  out.u64(rowsOf(layout));
  out.u64(layout.innerColumns * rowsOf(layout));
  out.u64(4); // Constants.
  for (let i = 0; i < 5; i++) out.u64(0); // No dynamic lookups, no shuffles.
  out.list([[1, outputs]], (shape) => out.list(shape, out.u64));
  out.list([SCALE], out.i32);
  out.list([SCALE], out.i32);
  out.list([], out.u64); // No committed polynomials, no hashes.
  out.u64(0);
  out.list([0], out.u64);
  out.list([], out.u32); // No lookups.
  out.list(rangeChecks(layout), ([low, high]) => {
    out.i128(BigInt(low));
    out.i128(BigInt(high));
  });
  out.u32(UNSAFE_CHECKS);
  out.text('0.0.0');
  for (let i = 0; i < 4; i++) out.none(); // Blinding factors, time, types of inputs and outputs.
}

function writeRunArguments(out: BincodeWriter, layout: CircuitLayout): void {
  out.i32(SCALE);
  out.i32(SCALE);
  out.u32(10); // How far a scale may grow before it is rebased.
  out.i128(0n);
  out.i128(0n);
  out.u32(layout.logRows);
  out.u64(layout.innerColumns);
  out.list([{ name: 'batch_size', value: 1 }], ({ name, value }) => {
    out.text(name);
    out.u64(value);
  });
  for (const visibility of [VISIBILITY.private, VISIBILITY.public, VISIBILITY.private]) out.u32(visibility);
  out.bool(false);
  out.u32(UNSAFE_CHECKS);
  out.some();
  out.u32(KZG);
  out.u64(layout.decompositionBase);
  out.u64(layout.decompositionDigits);
  out.bool(false);
  out.bool(false);
}

function writeEmptyWitness(out: BincodeWriter, inputs: number): void {
  const zero = scalarBytes(0n);
  out.u64(1);
  out.list(new Array<Uint8Array>(inputs).fill(zero), out.raw);
  out.none();
  out.u64(0);
  for (let i = 0; i < 3; i++) out.none();
  for (let i = 0; i < 3; i++) out.i128(0n);
  out.none();
}
