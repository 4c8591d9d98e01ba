/** The perceptron as a Noir program: weights and input private, output public, the same integers as everywhere here. */
import type { Layer, SampleMlp } from '../sample-mlp.ts';
import { reduce } from '../scalar-field.ts';

/** Rounded sums are shifted by this before they are divided, so that they are not negative. */
const OFFSET = 2 ** 31;
const SHIFTED_BITS = 32;

/** Source of a program for a perceptron with one hidden layer. */
export function mlpProgram({ input, layers }: SampleMlp): string {
  const [hidden, last] = layers;
  if (hidden?.divisor === undefined || last === undefined) throw new Error('one hidden layer is expected');
  const [inputs, width, outputs] = [input.length, hidden.biases.length, last.biases.length];
  return `
fn rescale(sum: Field) -> Field {
    let shifted = sum + ${OFFSET + hidden.divisor / 2};
    shifted.assert_max_bit_size::<${SHIFTED_BITS}>();
    let quotient = (shifted as u32) / ${hidden.divisor};
    if quotient > ${OFFSET / hidden.divisor} {
        (quotient - ${OFFSET / hidden.divisor}) as Field
    } else {
        0
    }
}

fn main(
    input: [Field; ${inputs}],
    weights_0: [[Field; ${inputs}]; ${width}],
    biases_0: [Field; ${width}],
    weights_1: [[Field; ${width}]; ${outputs}],
    biases_1: [Field; ${outputs}],
    output: pub [Field; ${outputs}],
) {
    let mut hidden = [0; ${width}];
    for i in 0..${width} {
        let mut sum = biases_0[i];
        for j in 0..${inputs} {
            sum += weights_0[i][j] * input[j];
        }
        hidden[i] = rescale(sum);
    }
    for i in 0..${outputs} {
        let mut sum = biases_1[i];
        for j in 0..${width} {
            sum += weights_1[i][j] * hidden[j];
        }
        assert(sum == output[i]);
    }
}
`;
}

/** Arguments of `main`. */
export function mlpArguments({ input, layers, output }: SampleMlp): Readonly<Record<string, unknown>> {
  const perLayer = layers.flatMap(({ weights, biases }: Layer, at) => [
    [`weights_${at}`, weights.map((row) => row.map(fieldText))],
    [`biases_${at}`, biases.map(fieldText)],
  ]);
  return { input: input.map(fieldText), ...Object.fromEntries(perLayer), output: output.map(fieldText) };
}

/** 32 bytes, big-endian: how Barretenberg writes a field element into a proof. */
export function fieldBytes(value: number): Buffer {
  return Buffer.from(reduce(BigInt(value)).toString(16).padStart(64, '0'), 'hex');
}

function fieldText(value: number): string {
  return `0x${fieldBytes(value).toString('hex')}`;
}
