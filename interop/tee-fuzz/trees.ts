/**
 * Inputs as trees, so that a change deep inside leaves all lengths around it right and reaches the code that reads it. The
 * readers here are lenient on purpose: what they cannot read stays a leaf.
 */
import { concatBytes, utf8Encode } from '@haca/primitives';
import { mutateBytes } from './byte-mutations.ts';
import type { Random } from './random.ts';

/** How the bytes of an input hang together. */
export type Form = 'der' | 'cbor' | 'json' | 'bytes';

/** An element and what is inside it; a leaf holds bytes. `head` makes what stands before contents of some length. */
export interface Tree {
  readonly children: readonly Tree[] | null;
  readonly bytes: Uint8Array;
  readonly write: (contents: Uint8Array, count: number) => Uint8Array;
}

const DEPTH_MAX = 10;

export function treeOf(bytes: Uint8Array, form: Form): Tree | null {
  if (form === 'der') return derForest(bytes, 0);
  if (form === 'cbor') return cborTree(bytes);
  if (form === 'json') return jsonTree(bytes);
  return null;
}

/** All nodes of the tree but the outermost. */
export function nodesOf(tree: Tree): readonly Tree[] {
  return (tree.children ?? []).flatMap((child) => [child, ...nodesOf(child)]);
}

/** The bytes of `tree` with `target` changed: its contents mutated, itself dropped, doubled or replaced by another node. */
export function mutateTree(tree: Tree, nodes: readonly Tree[], random: Random): Uint8Array {
  const target = random.pick(nodes);
  const own = writeTree(target, null, () => []);
  const replacement = (): readonly Uint8Array[] => {
    switch (random.below(8)) {
      case 0:
        return [];
      case 1:
        return [own, own];
      case 2:
        return [writeTree(random.pick(nodes), null, () => [])];
      case 3:
        return [own, writeTree(random.pick(nodes), null, () => [])];
      case 4:
        return [mutateBytes(own, random, [own])];
      default:
        return [
          target.write(mutateBytes(target.bytes, random, [target.bytes]), target.children?.length ?? 0),
        ];
    }
  };
  return writeTree(tree, target, replacement);
}

function writeTree(tree: Tree, target: Tree | null, replacement: () => readonly Uint8Array[]): Uint8Array {
  if (tree.children === null) return tree.write(tree.bytes, 0);
  const parts = tree.children.flatMap((child) =>
    child === target ? replacement() : [writeTree(child, target, replacement)],
  );
  return tree.write(concatBytes(...parts), parts.length);
}

/** A run of DER elements; null where it is none. */
function derForest(bytes: Uint8Array, depth: number): Tree | null {
  const children: Tree[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at] as number;
    const first = bytes[at + 1];
    if (first === undefined || first === 0x80 || first > 0x83) return null;
    const octets = first < 0x80 ? 0 : first & 0x7f;
    let length = first < 0x80 ? first : 0;
    for (let i = 0; i < octets; i++) length = length * 256 + (bytes[at + 2 + i] ?? 0);
    const from = at + 2 + octets;
    if (from + length > bytes.length) return null;
    children.push(derElement(tag, bytes.subarray(from, from + length), depth));
    at = from + length;
  }
  if (children.length === 0) return null;
  return { children, bytes, write: (contents) => contents };
}

function derElement(tag: number, content: Uint8Array, depth: number): Tree {
  const write = (contents: Uint8Array): Uint8Array =>
    concatBytes(Uint8Array.of(tag), derLength(contents.length), contents);
  const mayNest = (tag & 0x20) !== 0 || tag === 0x04;
  const inside = mayNest && depth < DEPTH_MAX ? derForest(content, depth + 1) : null;
  return { children: inside?.children ?? null, bytes: content, write };
}

function derLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  if (length < 0x100) return Uint8Array.of(0x81, length);
  if (length < 0x10000) return Uint8Array.of(0x82, length >> 8, length & 0xff);
  return Uint8Array.of(0x83, length >> 16, (length >> 8) & 0xff, length & 0xff);
}

function cborTree(bytes: Uint8Array): Tree | null {
  const item = cborItem(bytes, 0, 0);
  if (item === null || item.end !== bytes.length) return null;
  return { children: [item.tree], bytes, write: (contents) => contents };
}

interface CborItem {
  readonly tree: Tree;
  readonly end: number;
}

function cborItem(bytes: Uint8Array, at: number, depth: number): CborItem | null {
  const lead = bytes[at];
  if (lead === undefined || depth > DEPTH_MAX) return null;
  const major = lead >> 5;
  const info = lead & 0x1f;
  const isIndefinite = info === 31 && (major === 4 || major === 5);
  if (info > 27 && !isIndefinite) return null;
  const octets = info < 24 || isIndefinite ? 0 : 1 << (info - 24);
  let value = info < 24 ? info : 0;
  for (let i = 0; i < octets; i++) value = value * 256 + (bytes[at + 1 + i] ?? 0);
  const from = at + 1 + octets;
  if (major === 4 || major === 5)
    return cborContainer(bytes, from, major, isIndefinite ? null : value, depth);
  const end = major === 2 || major === 3 ? from + value : from;
  if (end > bytes.length) return null;
  const content = bytes.subarray(major === 2 || major === 3 ? from : at, end);
  const write = (contents: Uint8Array): Uint8Array =>
    major === 2 || major === 3 ? concatBytes(cborHead(major, contents.length), contents) : contents;
  return { tree: { children: null, bytes: content, write }, end };
}

function cborContainer(
  bytes: Uint8Array,
  from: number,
  major: 4 | 5,
  count: number | null,
  depth: number,
): CborItem | null {
  const children: Tree[] = [];
  const total = count === null ? Number.POSITIVE_INFINITY : count * (major - 3);
  let at = from;
  while (children.length < total && !(count === null && bytes[at] === 0xff)) {
    const item = cborItem(bytes, at, depth + 1);
    if (item === null) return null;
    children.push(item.tree);
    at = item.end;
  }
  const end = count === null ? at + 1 : at;
  const write = (contents: Uint8Array, parts: number): Uint8Array =>
    count === null
      ? concatBytes(Uint8Array.of((major << 5) | 31), contents, Uint8Array.of(0xff))
      : concatBytes(cborHead(major, Math.floor(parts / (major - 3))), contents);
  return { tree: { children, bytes: bytes.subarray(from, at), write }, end };
}

function cborHead(major: number, value: number): Uint8Array {
  if (value < 24) return Uint8Array.of((major << 5) | value);
  if (value < 0x100) return Uint8Array.of((major << 5) | 24, value);
  if (value < 0x10000) return Uint8Array.of((major << 5) | 25, value >> 8, value & 0xff);
  return Uint8Array.of(
    (major << 5) | 26,
    value >>> 24,
    (value >> 16) & 0xff,
    (value >> 8) & 0xff,
    value & 0xff,
  );
}

const OPEN = /[[{]/;

/** JSON as nested brackets and the text between commas: members keep their spelling. */
function jsonTree(bytes: Uint8Array): Tree | null {
  const text = new TextDecoder('latin1').decode(bytes);
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  return { children: [jsonValue(text.trim(), 0)], bytes, write: (contents) => contents };
}

function jsonValue(text: string, depth: number): Tree {
  const open = text[0] ?? '';
  if (!OPEN.test(open) || depth > DEPTH_MAX) return jsonLeaf(text);
  const close = open === '{' ? '}' : ']';
  const children = jsonMembers(text.slice(1, -1)).map((member) => jsonMember(member, open === '{', depth));
  const bytes = utf8Encode(text.slice(1, -1));
  return {
    children: children.map((child, at) => (at === 0 ? child : withComma(child))),
    bytes,
    write: (contents) => concatBytes(utf8Encode(open), contents, utf8Encode(close)),
  };
}

function jsonMember(member: string, isObject: boolean, depth: number): Tree {
  const colon = isObject ? member.indexOf(':', member.indexOf('"', member.indexOf('"') + 1)) : -1;
  const value = jsonValue(member.slice(colon + 1).trim(), depth + 1);
  const name = utf8Encode(member.slice(0, colon + 1));
  return { ...value, write: (contents, count) => concatBytes(name, value.write(contents, count)) };
}

function withComma(child: Tree): Tree {
  const comma = utf8Encode(',');
  return { ...child, write: (contents, count) => concatBytes(comma, child.write(contents, count)) };
}

function jsonLeaf(text: string): Tree {
  return { children: null, bytes: utf8Encode(text), write: (contents) => contents };
}

/** Splits at the commas outside of brackets and strings. */
function jsonMembers(text: string): readonly string[] {
  const members: string[] = [];
  let depth = 0;
  let isString = false;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i] as string;
    if (isString) {
      if (character === '\\') i++;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (OPEN.test(character)) depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === ',' && depth === 0) {
      members.push(text.slice(start, i));
      start = i + 1;
    }
  }
  if (text.slice(start).trim() !== '') members.push(text.slice(start));
  return members;
}
