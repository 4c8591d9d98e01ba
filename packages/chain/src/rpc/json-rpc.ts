/** JSON-RPC 2.0 as CometBFT speaks it: requests in, answers out, and the three spellings of parameters. */
import { fromBase64 } from '@haca/light-client';
import { fromHex, MalformedError } from '@haca/primitives';

export type RpcId = string | number | null;

/** Becomes `error` of an answer. Codes are JSON-RPC's; `data` says what was wrong. */
export class RpcFault extends Error {
  override readonly name = 'RpcFault';
  readonly code: number;
  readonly data: string;

  constructor(code: number, message: string, data: string) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

export const parseFault = (data: string): RpcFault => new RpcFault(-32700, 'Parse error. Invalid JSON', data);
export const requestFault = (data: string): RpcFault => new RpcFault(-32600, 'Invalid Request', data);
export const methodFault = (): RpcFault => new RpcFault(-32601, 'Method not found', '');
export const paramsFault = (data: string): RpcFault => new RpcFault(-32602, 'Invalid params', data);
export const internalFault = (data: string): RpcFault => new RpcFault(-32603, 'Internal error', data);

export interface RpcRequest {
  /** Undefined: a notification, which gets no answer. */
  readonly id: RpcId | undefined;
  readonly method: string;
  readonly params: unknown;
}

/** Throws `RpcFault`. */
export function parseRpcRequest(value: unknown): RpcRequest {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw requestFault('not an object');
  const { jsonrpc, id, method, params } = value as Readonly<Record<string, unknown>>;
  if (jsonrpc !== '2.0') throw requestFault('jsonrpc must be "2.0"');
  if (typeof method !== 'string') throw requestFault('method must be a string');
  if (id !== undefined && id !== null && typeof id !== 'string' && typeof id !== 'number') {
    throw requestFault('id must be a string or a number');
  }
  if (typeof id === 'string' && id.length > 256) throw requestFault('id is too long');
  return { id, method, params };
}

export function resultJson(id: RpcId, result: unknown): string {
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${JSON.stringify(result)}}`;
}

export function faultJson(id: RpcId, fault: RpcFault): string {
  const error = {
    code: fault.code,
    message: fault.message,
    ...(fault.data === '' ? {} : { data: fault.data }),
  };
  return JSON.stringify({ jsonrpc: '2.0', id, error });
}

/** How an argument is written in JSON: int64 as text or number, bytes as base64, hashes and query data as hex. */
export type ParamKind = 'int' | 'text' | 'bool' | 'base64' | 'hex';

export interface ParamSpec {
  readonly name: string;
  readonly kind: ParamKind;
}

export type ParamValue = number | string | boolean | Uint8Array;

export interface Params {
  readonly int: (name: string) => number | undefined;
  readonly text: (name: string) => string | undefined;
  readonly bool: (name: string) => boolean;
  readonly bytes: (name: string) => Uint8Array | undefined;
}

/** Arguments by name, or by position in the order of `specs`. Unknown names are refused. */
export function readJsonParams(specs: readonly ParamSpec[], params: unknown): Params {
  const values = new Map<string, ParamValue>();
  const read = (spec: ParamSpec, value: unknown): void => {
    if (value !== undefined && value !== null) values.set(spec.name, readJsonParam(spec, value));
  };
  if (Array.isArray(params)) {
    if (params.length > specs.length) throw paramsFault(`expected at most ${specs.length} parameters`);
    params.forEach((value, i) => {
      read(specs[i] as ParamSpec, value);
    });
  } else if (typeof params === 'object' && params !== null) {
    for (const [name, value] of Object.entries(params)) {
      const spec = specs.find((each) => each.name === name);
      if (spec === undefined) throw paramsFault(`unknown parameter ${JSON.stringify(name.slice(0, 64))}`);
      read(spec, value);
    }
  } else if (params !== undefined && params !== null) {
    throw paramsFault('params must be an object or a list');
  }
  return paramsOf(values);
}

function readJsonParam({ name, kind }: ParamSpec, value: unknown): ParamValue {
  if (kind === 'bool') {
    if (typeof value === 'boolean') return value;
    throw paramsFault(`${name} must be true or false`);
  }
  if (kind === 'int') return readInt(name, typeof value === 'number' ? `${value}` : value);
  if (typeof value !== 'string') throw paramsFault(`${name} must be a string`);
  if (kind === 'text') return value;
  return readBytes(name, kind, value);
}

/** Arguments of a GET: `height=5`, `path="/record"`, `data=0x01ff`, `tx="raw text"`, `prove=true`. */
export function readUriParams(specs: readonly ParamSpec[], search: URLSearchParams): Params {
  const values = new Map<string, ParamValue>();
  for (const spec of specs) {
    const text = search.get(spec.name);
    if (text !== null && text !== '') values.set(spec.name, readUriParam(spec, text));
  }
  return paramsOf(values);
}

function readUriParam({ name, kind }: ParamSpec, text: string): ParamValue {
  const quoted = text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : null;
  if (kind === 'int') return readInt(name, quoted ?? text);
  if (kind === 'bool') {
    if (text === 'true' || text === 'false') return text === 'true';
    throw paramsFault(`${name} must be true or false`);
  }
  if (kind === 'text') return quoted ?? text;
  if (text.startsWith('0x')) return readBytes(name, 'hex', text.slice(2));
  if (quoted !== null) return new TextEncoder().encode(quoted);
  return readBytes(name, 'hex', text);
}

function readInt(name: string, value: unknown): number {
  if (
    typeof value !== 'string' ||
    !/^-?(0|[1-9][0-9]{0,15})$/.test(value) ||
    !Number.isSafeInteger(Number(value))
  ) {
    throw paramsFault(`${name} must be an integer`);
  }
  return Number(value);
}

function readBytes(name: string, kind: 'base64' | 'hex', text: string): Uint8Array {
  try {
    return kind === 'hex' ? fromHex(text.replace(/^0x/, '').toLowerCase()) : fromBase64(text);
  } catch (error) {
    if (error instanceof MalformedError) throw paramsFault(`${name} must be ${kind}`);
    throw error;
  }
}

function paramsOf(values: ReadonlyMap<string, ParamValue>): Params {
  const get = <T extends ParamValue>(name: string): T | undefined => values.get(name) as T | undefined;
  return {
    int: (name) => get<number>(name),
    text: (name) => get<string>(name),
    bool: (name) => get<boolean>(name) ?? false,
    bytes: (name) => get<Uint8Array>(name),
  };
}
