import { hash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { encode, fromHex, MalformedError } from '@haca/primitives';
import { decodeModelManifest, type Method, type ModelManifest, modelManifestCodec } from '@haca/protocol';
import { EngineError } from '../engine.ts';
import { asInteger, asRecord, asText, type JsonRecord } from './json.ts';

/** What a model directory's `manifest.json` says and an engine needs. */
export interface ModelDescription {
  readonly name: string;
  readonly license: string;
  readonly contextTokens: number;
  readonly vocabSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  readonly stopToken: string;
}

/** A model directory, read once; every byte of it is what its manifest names. */
export interface ModelFiles {
  readonly description: ModelDescription;
  readonly manifest: ModelManifest;
  readonly modelBytes: Uint8Array<ArrayBuffer>;
  readonly tokenizerJson: unknown;
}

const MANIFEST_MAX_BYTES = 1 << 20;
const TOKENIZER_MAX_BYTES = 64 << 20;
const MODEL_MAX_BYTES = 2 ** 31 - 1;

/** The one template this engine writes; a directory that describes another is refused. */
const CHAT_TEMPLATE = [
  '<|bos|>',
  '[<|system|> text <|end|>]',
  '(<|user|> text <|end|> <|assistant|> text <|end|>)*',
  '<|user|> text <|end|>',
  '<|assistant|>',
];
const STOP_TOKEN = '<|end|>';

/**
 * Reads `manifest.json`, `model.onnx` and `tokenizer.json`, and checks size and SHA-256 of the latter two on the very bytes
 * that are used. Throws `EngineError` naming the file that is missing or differs.
 */
export async function readModelFiles(dir: string, methods: readonly Method[]): Promise<ModelFiles> {
  const manifestPath = join(dir, 'manifest.json');
  const manifestText = await readBounded(manifestPath, MANIFEST_MAX_BYTES);
  try {
    const json = asRecord(parseJson(manifestText), 'manifest');
    const description = describeModel(json);
    const model = await readListed(dir, 'model.onnx', json, MODEL_MAX_BYTES);
    const tokenizer = await readListed(dir, 'tokenizer.json', json, TOKENIZER_MAX_BYTES);
    const manifest: ModelManifest = {
      version: 1,
      name: description.name,
      task: 'chat',
      weights: { kind: 'sha256', digest: model.digest },
      tokenizerHash: tokenizer.digest,
      methods: [...methods],
      contextTokens: description.contextTokens,
      license: description.license,
    };
    return {
      description,
      manifest: decodeModelManifest(encode(modelManifestCodec, manifest)),
      modelBytes: model.bytes,
      tokenizerJson: parseJson(tokenizer.bytes),
    };
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw unusable(`${manifestPath}: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

interface HashedFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly digest: Uint8Array;
}

async function readListed(dir: string, name: string, json: JsonRecord, most: number): Promise<HashedFile> {
  const listed = asRecord(asRecord(json['files'], 'files')[name], `files.${name}`);
  const sizeBytes = asInteger(listed['bytes'], `files.${name}.bytes`, 1, most);
  const expected = asText(listed['sha256'], `files.${name}.sha256`);
  const digest = fromHex(expected, `files.${name}.sha256`);
  const path = join(dir, name);
  const bytes = await readBounded(path, sizeBytes);
  const got = hash('sha256', bytes, 'hex');
  if (got !== expected) {
    throw unusable(
      `${path} is not the file its manifest.json names: expected ${sizeBytes} bytes with SHA-256 ${expected}, got ${bytes.length} bytes with SHA-256 ${got}. Restore the file, or write the manifest anew`,
    );
  }
  return { bytes, digest };
}

async function readBounded(path: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const file = await stat(path);
    if (!file.isFile()) throw unusable(`${path} is not a file`);
    if (file.size > most) throw unusable(`${path} has ${file.size} bytes, expected at most ${most}`);
    const content = await readFile(path);
    // A copy of its own: the bytes move to another thread, and a small Buffer shares its memory with others.
    return new Uint8Array(content);
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw unusable(`${path} cannot be read: ${error instanceof Error ? error.message : error}`, error);
  }
}

function parseJson(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

function describeModel(json: JsonRecord): ModelDescription {
  const task = asText(json['task'], 'task');
  if (task !== 'chat') throw new MalformedError('model.task', 'task', 'chat', task);
  const template = asRecord(json['chatTemplate'], 'chatTemplate');
  const tokens = JSON.stringify(template['tokens']);
  if (tokens !== JSON.stringify(CHAT_TEMPLATE)) {
    throw new MalformedError('model.template', 'chatTemplate.tokens', JSON.stringify(CHAT_TEMPLATE), tokens);
  }
  const architecture = asRecord(json['architecture'], 'architecture');
  const number = (key: string): number => asInteger(architecture[key], `architecture.${key}`, 1, 1 << 20);
  return {
    name: asText(json['name'], 'name'),
    license: asText(json['license'], 'license'),
    contextTokens: asInteger(asRecord(json['context'], 'context')['tokens'], 'context.tokens', 2, 1 << 20),
    vocabSize: number('vocab'),
    layers: number('layers'),
    heads: number('kvHeads'),
    headDim: number('headDim'),
    stopToken: STOP_TOKEN,
  };
}

function unusable(message: string, cause?: unknown): EngineError {
  return new EngineError('E_UNAVAILABLE', message, { cause });
}
