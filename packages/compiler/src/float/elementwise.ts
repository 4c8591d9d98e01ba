/** Operators that work cell by cell, with NumPy's broadcasting between operands. */
import { MalformedError } from '@haca/primitives';
import { elementTypeOf } from '../onnx/model.ts';
import {
  badShapes,
  floatAttribute,
  intAttribute,
  type OpCall,
  type OpDefinition,
  type Operands,
  type OpTable,
  required,
  requiredTensor,
  textAttribute,
  unsupported,
} from './op.ts';
import {
  broadcastShape,
  broadcastStrides,
  type ElementType,
  emptyTensor,
  sameShape,
  type Tensor,
  walk,
} from './tensor.ts';

type Unary = (x: number) => number;
type Binary = (a: number, b: number) => number;

const SQRT_HALF = Math.SQRT1_2;
const SELU_ALPHA = 1.6732632423543772;
const SELU_GAMMA = 1.0507009873554805;

export const ELEMENTWISE_OPS: OpTable = {
  ...unaryOps({
    Relu: () => (x) => (x > 0 ? x : 0),
    LeakyRelu: (call) => {
      const alpha = floatAttribute(call, 'alpha', 0.01);
      return (x) => (x < 0 ? alpha * x : x);
    },
    Elu: (call) => {
      const alpha = floatAttribute(call, 'alpha', 1);
      return (x) => (x < 0 ? alpha * Math.expm1(x) : x);
    },
    Selu: (call) => {
      const alpha = floatAttribute(call, 'alpha', SELU_ALPHA);
      const gamma = floatAttribute(call, 'gamma', SELU_GAMMA);
      return (x) => gamma * (x <= 0 ? alpha * Math.expm1(x) : x);
    },
    Celu: (call) => {
      const alpha = floatAttribute(call, 'alpha', 1);
      return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha));
    },
    HardSigmoid: (call) => {
      const alpha = floatAttribute(call, 'alpha', 0.2);
      const beta = floatAttribute(call, 'beta', 0.5);
      return (x) => Math.max(0, Math.min(1, alpha * x + beta));
    },
    ThresholdedRelu: (call) => {
      const alpha = floatAttribute(call, 'alpha', 1);
      return (x) => (x > alpha ? x : 0);
    },
    HardSwish: () => (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5)),
    Sigmoid: () => sigmoid,
    Softplus: () => softplus,
    Softsign: () => (x) => x / (1 + Math.abs(x)),
    Mish: () => (x) => x * Math.tanh(softplus(x)),
    Gelu: (call) =>
      textAttribute(call, 'approximate', 'none') === 'tanh'
        ? (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
        : (x) => 0.5 * x * (1 + erf(x * SQRT_HALF)),
    Erf: () => erf,
    Tanh: () => Math.tanh,
    Exp: () => Math.exp,
    Log: () => Math.log,
    Sqrt: () => Math.sqrt,
    Reciprocal: () => (x) => 1 / x,
    Neg: () => (x) => -x,
    Abs: () => Math.abs,
    Sign: () => Math.sign,
    Floor: () => Math.floor,
    Ceil: () => Math.ceil,
    Round: () => roundHalfEven,
    Sin: () => Math.sin,
    Cos: () => Math.cos,
    Not: () => (x) => (x === 0 ? 1 : 0),
  }),
  ...binaryOps({
    Add: [(a, b) => a + b],
    Sub: [(a, b) => a - b],
    Mul: [(a, b) => a * b],
    Div: [(a, b) => a / b],
    Pow: [(a, b) => (b === 2 ? a * a : a ** b)],
    PRelu: [(x, slope) => (x < 0 ? slope * x : x)],
    Equal: [(a, b) => (a === b ? 1 : 0), 'bool'],
    Greater: [(a, b) => (a > b ? 1 : 0), 'bool'],
    GreaterOrEqual: [(a, b) => (a >= b ? 1 : 0), 'bool'],
    Less: [(a, b) => (a < b ? 1 : 0), 'bool'],
    LessOrEqual: [(a, b) => (a <= b ? 1 : 0), 'bool'],
    And: [(a, b) => a * b, 'bool'],
    Or: [(a, b) => (a + b > 0 ? 1 : 0), 'bool'],
    Xor: [(a, b) => (a === b ? 0 : 1), 'bool'],
    Max: [Math.max],
    Min: [Math.min],
    Mod: [(a, b) => a - b * Math.floor(a / b)],
  }),
  Clip: {
    infer: (call, inputs) => [sameAs(call, inputs)],
    evaluate: (call, inputs) => {
      const low = inputs[1]?.data[0] ?? Number.NEGATIVE_INFINITY;
      const high = inputs[2]?.data[0] ?? Number.POSITIVE_INFINITY;
      return [mapCells(requiredTensor(call, inputs, 0), (x) => Math.min(Math.max(x, low), high))];
    },
  },
  Cast: {
    infer: inferCast,
    evaluate: (call, inputs) => [castTo(castTarget(call), requiredTensor(call, inputs, 0))],
  },
  CastLike: {
    infer: (call, inputs) => [
      { type: required(call, inputs, 1).type, shape: required(call, inputs, 0).shape },
    ],
    evaluate: (call, inputs) => [
      castTo(requiredTensor(call, inputs, 1).type, requiredTensor(call, inputs, 0)),
    ],
  },
  Where: {
    infer: (call, inputs) => {
      const [condition, a, b] = [0, 1, 2].map((i) => required(call, inputs, i)) as [Tensor, Tensor, Tensor];
      const inner = broadcastShape(a.shape, b.shape);
      const shape = inner === undefined ? undefined : broadcastShape(condition.shape, inner);
      if (shape === undefined) throw badShapes(call, 'shapes that broadcast', inputs);
      return [{ type: a.type, shape }];
    },
    evaluate: (call, inputs) => {
      const [condition, a, b] = [0, 1, 2].map((i) => requiredTensor(call, inputs, i)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const shape = broadcastShape(condition.shape, broadcastShape(a.shape, b.shape) as number[]) as number[];
      const [mask, left, right] = [condition, a, b].map((x) => expanded(x, shape)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const out = emptyTensor(a.type, shape);
      for (let i = 0; i < out.data.length; i++) {
        out.data[i] = (mask.data[i] === 0 ? right.data[i] : left.data[i]) as number;
      }
      return [out];
    },
  },
};

/** Operators whose one data operand and result correspond cell by cell, so that a chain of them is one function of a number. */
export const UNARY_OPS: ReadonlySet<string> = new Set([
  'Relu',
  'LeakyRelu',
  'Elu',
  'Selu',
  'Celu',
  'HardSigmoid',
  'ThresholdedRelu',
  'HardSwish',
  'Sigmoid',
  'Softplus',
  'Softsign',
  'Mish',
  'Gelu',
  'Erf',
  'Tanh',
  'Exp',
  'Log',
  'Sqrt',
  'Reciprocal',
  'Neg',
  'Abs',
  'Sign',
  'Floor',
  'Ceil',
  'Round',
  'Sin',
  'Cos',
  'Not',
  'Clip',
  'Cast',
]);

export const BINARY_OPS: ReadonlySet<string> = new Set([
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Pow',
  'PRelu',
  'Equal',
  'Greater',
  'GreaterOrEqual',
  'Less',
  'LessOrEqual',
  'And',
  'Or',
  'Xor',
  'Max',
  'Min',
  'Mod',
  'Where',
]);

function unaryOps(table: Readonly<Record<string, (call: OpCall) => Unary>>): Record<string, OpDefinition> {
  return Object.fromEntries(
    Object.entries(table).map(([name, of]) => [
      name,
      {
        infer: (call: OpCall, inputs: Operands) => {
          of(call);
          return [sameAs(call, inputs)];
        },
        evaluate: (call, inputs) => [mapCells(requiredTensor(call, inputs, 0), of(call))],
      } satisfies OpDefinition,
    ]),
  );
}

function binaryOps(
  table: Readonly<Record<string, readonly [of: Binary, type?: ElementType]>>,
): Record<string, OpDefinition> {
  return Object.fromEntries(
    Object.entries(table).map(([name, [of, type]]) => [
      name,
      {
        infer: (call: OpCall, inputs: Operands) => {
          const first = required(call, inputs, 0);
          let shape: readonly number[] | undefined = first.shape;
          for (let i = 1; i < inputs.length; i++) {
            const next = required(call, inputs, i);
            if (next.type !== first.type && name !== 'Pow')
              throw unsupported(call, 'operands of one type', `${first.type} and ${next.type}`);
            shape = broadcastShape(shape, next.shape);
            if (shape === undefined) throw badShapes(call, 'shapes that broadcast', inputs);
          }
          return [{ type: type ?? first.type, shape }];
        },
        evaluate: (call, inputs) => {
          let left = requiredTensor(call, inputs, 0);
          const resultType = type ?? left.type;
          // Integer division truncates.
          const apply =
            name === 'Div' && left.type === 'int' ? (a: number, b: number) => Math.trunc(a / b) : of;
          if (inputs.length === 1) return [left];
          for (let i = 1; i < inputs.length; i++) {
            left = combine(left, requiredTensor(call, inputs, i), apply, resultType);
          }
          return [left];
        },
      } satisfies OpDefinition,
    ]),
  );
}

function combine(a: Tensor, b: Tensor, of: Binary, type: ElementType): Tensor {
  const shape = broadcastShape(a.shape, b.shape) as number[];
  const out = emptyTensor(type, shape);
  const { data } = out;
  if (sameShape(a.shape, b.shape)) {
    for (let i = 0; i < data.length; i++) data[i] = of(a.data[i] as number, b.data[i] as number);
  } else if (b.data.length === 1 && sameShape(a.shape, shape)) {
    const right = b.data[0] as number;
    for (let i = 0; i < data.length; i++) data[i] = of(a.data[i] as number, right);
  } else {
    const right = expanded(b, shape);
    walk(shape, broadcastStrides(a.shape, shape), 0, (o, i) => {
      data[o] = of(a.data[i] as number, right.data[o] as number);
    });
  }
  return out;
}

/** The tensor repeated to the shape. */
export function expanded(tensor: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(tensor.shape, shape)) return tensor;
  const out = emptyTensor(tensor.type, shape);
  walk(shape, broadcastStrides(tensor.shape, shape), 0, (o, i) => {
    out.data[o] = tensor.data[i] as number;
  });
  return out;
}

function mapCells(tensor: Tensor, of: Unary): Tensor {
  const out = emptyTensor(tensor.type, tensor.shape);
  const { data } = out;
  for (let i = 0; i < data.length; i++) data[i] = of(tensor.data[i] as number);
  return out;
}

function sameAs(call: OpCall, inputs: Operands): { type: ElementType; shape: readonly number[] } {
  const { type, shape } = required(call, inputs, 0);
  return { type, shape };
}

function castTarget(call: OpCall): ElementType {
  const to = intAttribute(call, 'to', 0);
  const type = elementTypeOf(to);
  if (type === undefined)
    throw new MalformedError('onnx.attribute', call.place, 'to as a number type', `type ${to}`);
  return type;
}

function inferCast(call: OpCall, inputs: Operands): { type: ElementType; shape: readonly number[] }[] {
  return [{ type: castTarget(call), shape: required(call, inputs, 0).shape }];
}

function castTo(type: ElementType, tensor: Tensor): Tensor {
  if (type === tensor.type) return tensor;
  const out = emptyTensor(type, tensor.shape);
  for (let i = 0; i < out.data.length; i++) {
    const value = tensor.data[i] as number;
    if (type === 'bool') out.data[i] = value === 0 ? 0 : 1;
    else out.data[i] = type === 'int' ? Math.trunc(value) : value;
  }
  return out;
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function softplus(x: number): number {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

const ERF_SERIES_MAX = 2.5;
const ERF_ONE = 6;

/**
 * The error function to about 1e-15: its Taylor series near 0, a continued fraction of the complement beyond.
 * (NIST DLMF 7.6.2 and 7.9.1.)
 */
export function erf(x: number): number {
  const size = Math.abs(x);
  if (!(size < ERF_ONE)) return Number.isNaN(x) ? x : Math.sign(x);
  const square = x * x;
  if (size < ERF_SERIES_MAX) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * square) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-square) * sum;
  }
  let fraction = size;
  for (let n = 60; n >= 1; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-square) / (Math.sqrt(Math.PI) * fraction));
}
