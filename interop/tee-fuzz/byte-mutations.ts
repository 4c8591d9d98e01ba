/** Changes to bytes of any format: flips, spans cut out, doubled, moved or taken from elsewhere, and integers at their limits. */
import { concatBytes } from '@haca/primitives';
import type { Random } from './random.ts';

/** Far above every document limit, so that limits are met from both sides. */
export const INPUT_MAX_BYTES = 48 * 1024;

type Mutation = (bytes: Uint8Array, random: Random, others: readonly Uint8Array[]) => Uint8Array;

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
/** Bytes that mean something in DER, CBOR, JSON or PEM. */
const MEANINGFUL = [
  0x00, 0x02, 0x03, 0x04, 0x05, 0x06, 0x30, 0x31, 0x80, 0x81, 0x82, 0x84, 0xa0, 0xa3, 0xff, 0x9f, 0xbf, 0x5f,
  0x7f, 0xf6, 0xf7, 0xc6, 0xfb, 0x18, 0x1b, 0x22, 0x2c, 0x2d, 0x3a, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x0a, 0x0d,
];
const OPENERS = [[0x30, 0x80], [0x30], [0x81], [0x9f], [0xa1, 0x00], [0xbf], [0xd8, 0x18], [0x5b], [0x7b]];

function span(bytes: Uint8Array, random: Random, longest = 64): readonly [from: number, to: number] {
  const from = random.below(bytes.length + 1);
  const most = random.chance(0.05) ? bytes.length - from : Math.min(longest, bytes.length - from);
  return [from, from + random.below(most + 1)];
}

function edited(bytes: Uint8Array, edit: (copy: Uint8Array) => void): Uint8Array {
  const copy = bytes.slice();
  edit(copy);
  return copy;
}

const flipBit: Mutation = (bytes, random) =>
  edited(bytes, (copy) => {
    const at = random.below(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
  });

const setByte: Mutation = (bytes, random) =>
  edited(bytes, (copy) => {
    copy[random.below(copy.length)] = random.chance(0.5) ? random.pick(MEANINGFUL) : random.below(256);
  });

/** An integer of 1, 2, 4 or 8 bytes in either order set to a limit, to what is left of the input, or moved by a little. */
const setInteger: Mutation = (bytes, random) =>
  edited(bytes, (copy) => {
    const width = random.pick([1, 2, 4, 8]);
    if (copy.length < width) return;
    const at = random.below(copy.length - width + 1);
    const view = new DataView(copy.buffer, at, width);
    const littleEndian = random.chance(0.5);
    const low = width === 8 ? 4 : width;
    const offset = width === 8 && !littleEndian ? 4 : 0;
    if (width === 8) view.setUint32(4 - offset, random.chance(0.8) ? 0 : 0xffffffff);
    const old =
      low === 1
        ? view.getUint8(offset)
        : low === 2
          ? view.getUint16(offset, littleEndian)
          : view.getUint32(offset, littleEndian);
    const value = random.pick([
      random.pick(EXTREMES),
      copy.length - at - width,
      old + random.below(9) - 4,
      old * 2,
    ]);
    if (low === 1) view.setUint8(offset, value);
    else if (low === 2) view.setUint16(offset, value, littleEndian);
    else view.setUint32(offset, value, littleEndian);
  });

const truncate: Mutation = (bytes, random) => bytes.slice(0, random.below(bytes.length + 1));

const extend: Mutation = (bytes, random) =>
  concatBytes(
    bytes,
    random.chance(0.5) ? new Uint8Array(1 + random.below(64)) : random.bytes(1 + random.below(16)),
  );

const cutOut: Mutation = (bytes, random) => {
  const [from, to] = span(bytes, random);
  return concatBytes(bytes.subarray(0, from), bytes.subarray(to));
};

const duplicate: Mutation = (bytes, random) => {
  const [from, to] = span(bytes, random, 2048);
  return concatBytes(bytes.subarray(0, to), bytes.subarray(from));
};

const move: Mutation = (bytes, random) => {
  const [from, to] = span(bytes, random, 256);
  const rest = concatBytes(bytes.subarray(0, from), bytes.subarray(to));
  const at = random.below(rest.length + 1);
  return concatBytes(rest.subarray(0, at), bytes.subarray(from, to), rest.subarray(at));
};

const insertRandom: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  return concatBytes(bytes.subarray(0, at), random.bytes(1 + random.below(16)), bytes.subarray(at));
};

const overwriteSpan: Mutation = (bytes, random) =>
  edited(bytes, (copy) => {
    const [from, to] = span(copy, random);
    copy.fill(random.pick([0, 0xff, 0x30, 0x20, random.below(256)]), from, to);
  });

/** The head of one input and the tail of another. */
const splice: Mutation = (bytes, random, others) => {
  const other = random.pick(others);
  const [from, to] = span(other, random, 4096);
  const at = random.below(bytes.length + 1);
  const tail = random.chance(0.5)
    ? bytes.subarray(at)
    : bytes.subarray(Math.min(bytes.length, at + to - from));
  return concatBytes(bytes.subarray(0, at), other.subarray(from, to), tail);
};

/** Containers opened and not closed, at any place. */
const nest: Mutation = (bytes, random) => {
  const opener = random.pick(OPENERS);
  const depth = random.chance(0.1) ? random.below(12_000) : random.below(40);
  const nested = new Uint8Array(opener.length * depth);
  for (let i = 0; i < nested.length; i++) nested[i] = opener[i % opener.length] ?? 0;
  const at = random.chance(0.5) ? 0 : random.below(bytes.length + 1);
  return concatBytes(bytes.subarray(0, at), nested, bytes.subarray(at));
};

const fresh: Mutation = (_bytes, random) => random.bytes(random.below(random.chance(0.1) ? 4096 : 64));

/** Repeated as often as it is likely. */
const MUTATIONS: readonly Mutation[] = [
  ...Array<Mutation>(6).fill(flipBit),
  ...Array<Mutation>(6).fill(setByte),
  ...Array<Mutation>(6).fill(setInteger),
  ...[truncate, truncate, extend, cutOut, cutOut, duplicate, duplicate, move, insertRandom, overwriteSpan],
  ...[overwriteSpan, splice, splice, nest, fresh],
];

/** One random change; at most `INPUT_MAX_BYTES` come out. */
export function mutateBytes(bytes: Uint8Array, random: Random, others: readonly Uint8Array[]): Uint8Array {
  const changed = random.pick(MUTATIONS)(bytes, random, others);
  return changed.length > INPUT_MAX_BYTES ? changed.slice(0, INPUT_MAX_BYTES) : changed;
}
