/**
 * Tokens of NVIDIA's remote attestation service (NRAS): a detached EAT, i.e. a signed overall result beside one signed token
 * for each device, bound to it by digest. They are the word of an online service about evidence nobody sees any more: an extra
 * tier, never a replacement for the evidence. Without the service's keys no verdict is ok.
 */
import {
  bytesEqual,
  type CryptoProvider,
  fromHex,
  MalformedError,
  toHex,
  UsageError,
  utf8Decode,
  utf8Encode,
} from '@haca/primitives';
import { check } from '@haca/protocol';
import { jsonElements, jsonMembers, jsonString, jsonValue } from '../../file-forms/json-text.ts';
import { base64UrlOf } from '../../file-forms/text-forms.ts';
import { type Appraisal, appraisalOf, type CheckRun, openCheckRun } from '../check-run.ts';
import { checkBytes, type Expected } from '../expected.ts';
import { NONCE_BYTES } from './report.ts';

export const NRAS_ISSUER = 'https://nras.attestation.nvidia.com';
const TOKEN_MAX_BYTES = 256 * 1024;
const DEVICES_MAX = 64;
const SIGNATURE_BYTES = 96;
const KID_MAX_CHARS = 256;
/** Seconds that are still exact as milliseconds. */
const SECONDS_MAX = 253_402_300_799;

/** A key of the service, from its JWKS. */
export interface NrasKey {
  readonly kid: string;
  /** Uncompressed P-384 point, 97 bytes. */
  readonly publicKey: Uint8Array;
}

export interface NrasContext {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch. */
  readonly nowMs: number;
  /** 32 bytes. */
  readonly nonce: Expected<Uint8Array>;
  /** `none`: the signatures can't be checked, and the verdict is never ok. */
  readonly keys: readonly NrasKey[] | 'none';
}

export interface NrasDevice {
  /** E.g. `GPU-0`. */
  readonly name: string;
  /** The service found the measurements as its reference manifests have them. */
  readonly isMeasuredAsExpected: boolean;
  readonly isDebugDisabled: boolean;
}

export interface NrasClaims {
  readonly nonce: Uint8Array;
  readonly notBeforeMs: number;
  readonly expiresMs: number;
  /** The service found every device in order. */
  readonly isOverallGood: boolean;
  readonly devices: readonly NrasDevice[];
}

/** Ids of all checks, in order. Those down to `signature` prove authenticity. */
export const NRAS_CHECKS = [
  'nvidia.eat.form',
  'nvidia.eat.digests',
  'nvidia.eat.signature',
  'nvidia.eat.issuer',
  'nvidia.eat.window',
  'nvidia.eat.nonce',
  'nvidia.eat.result',
] as const;

type Run = CheckRun<(typeof NRAS_CHECKS)[number]>;
type Members = ReadonlyMap<string, string>;

interface Token {
  readonly text: string;
  readonly kid: string;
  readonly payload: Members;
  readonly signature: Uint8Array;
  readonly issuer: string;
  readonly nonce: Uint8Array;
  readonly issuedMs: number;
  readonly notBeforeMs: number;
  readonly expiresMs: number;
}

interface DetachedEat {
  readonly overall: Token;
  readonly isOverallGood: boolean;
  /** Digest of each device's token by its name, as the overall token has it. */
  readonly digests: ReadonlyMap<string, Uint8Array>;
  readonly devices: ReadonlyMap<string, Token>;
}

/**
 * `bytes` is the service's answer as JSON: `[["JWT", token], {name: token, ...}]`. Total for every byte string; the verdict
 * always lists every check. Verifies one signature for each token, at most 65. Claims are null unless every signature was
 * verified. Throws `UsageError` for a context that makes no sense.
 */
export function appraiseNrasToken(bytes: Uint8Array, context: NrasContext): Appraisal<NrasClaims> {
  const { nowMs, keys } = context;
  if (!Number.isSafeInteger(nowMs)) throw new UsageError(`${nowMs} is no time in milliseconds`);
  if (keys !== 'none' && keys.some(({ publicKey }) => publicKey.length !== 97))
    throw new UsageError('a key is a point of 97 bytes');
  const run = openCheckRun(NRAS_CHECKS);
  const claims = runChecks(bytes, context, run);
  return appraisalOf({ checks: run.checks(), claims }, [], () => ({ checks: [], measurement: null }));
}

function runChecks(bytes: Uint8Array, context: NrasContext, run: Run): NrasClaims | null {
  const eat = run.parse('nvidia.eat.form', () => parseDetachedEat(bytes));
  if (eat === null || !checkDigests(eat, context.crypto, run)) return null;
  const isSigned = checkSignatures(eat, context, run);
  if (!isSigned && context.keys !== 'none') return null;
  const tokens = [eat.overall, ...eat.devices.values()];
  checkIssuer(tokens, run);
  checkWindow(tokens, context.nowMs, run);
  checkNonce(tokens, context.nonce, run);
  const devices = [...eat.devices].map(([name, { payload }]) => deviceOf(name, payload));
  checkResult(eat.isOverallGood, devices, run);
  if (!isSigned) return null;
  const { nonce } = eat.overall;
  const notBeforeMs = Math.max(...tokens.map((token) => token.notBeforeMs));
  const expiresMs = Math.min(...tokens.map((token) => token.expiresMs));
  return { nonce, notBeforeMs, expiresMs, isOverallGood: eat.isOverallGood, devices };
}

/** Each device's token is the one whose SHA-256 the overall token names, and none is missing or added. */
function checkDigests({ digests, devices }: DetachedEat, crypto: CryptoProvider, run: Run): boolean {
  const id = 'nvidia.eat.digests';
  for (const [name, { text }] of devices) {
    const expected = digests.get(name);
    const got = crypto.sha256(utf8Encode(text, name));
    if (expected === undefined || !bytesEqual(expected, got))
      return run.fail(id, id, expected === undefined ? 'no such device' : toHex(expected), toHex(got));
  }
  const isWhole = digests.size === devices.size;
  return run.note(check(id, id, isWhole, `${digests.size} devices`, `${devices.size}`));
}

function checkSignatures(eat: DetachedEat, { crypto, keys }: NrasContext, run: Run): boolean {
  const id = 'nvidia.eat.signature';
  if (keys === 'none') return run.skip(id, 'nvidia.eat.no-keys', 'the keys of the service are not given');
  for (const { text, kid, signature } of [eat.overall, ...eat.devices.values()]) {
    const found = keys.filter((key) => key.kid === kid);
    const [key] = found;
    if (key === undefined || found.length > 1)
      return run.fail(id, 'nvidia.eat.key-unknown', 'the id of one given key', JSON.stringify(kid));
    const signed = utf8Encode(text.slice(0, text.lastIndexOf('.')));
    if (!crypto.verifyEcdsaP384(key.publicKey, signed, signature))
      return run.fail(id, id, `a signature by ${JSON.stringify(kid)}`, 'one that does not verify');
  }
  return run.pass(id, `${1 + eat.devices.size} tokens`);
}

function checkIssuer(tokens: readonly Token[], run: Run): void {
  const other = tokens.find(({ issuer }) => issuer !== NRAS_ISSUER);
  const got = JSON.stringify((other?.issuer ?? NRAS_ISSUER).slice(0, 128));
  run.note(check('nvidia.eat.issuer', 'nvidia.eat.issuer', other === undefined, NRAS_ISSUER, got));
}

function checkWindow(tokens: readonly Token[], nowMs: number, run: Run): void {
  const id = 'nvidia.eat.window';
  const early = tokens.find(({ notBeforeMs, issuedMs }) => nowMs < Math.max(notBeforeMs, issuedMs));
  const late = tokens.find(({ expiresMs }) => nowMs >= expiresMs);
  if (early !== undefined) {
    const start = Math.max(early.notBeforeMs, early.issuedMs);
    run.fail(id, 'nvidia.eat.not-yet-valid', `${start} or later`, `${nowMs}`);
  } else if (late !== undefined) run.fail(id, 'nvidia.eat.expired', `before ${late.expiresMs}`, `${nowMs}`);
  else run.pass(id, `${nowMs}`);
}

function checkNonce(tokens: readonly Token[], expected: Expected<Uint8Array>, run: Run): void {
  const id = 'nvidia.eat.nonce';
  const [overall] = tokens as readonly [Token];
  const other = tokens.find(({ nonce }) => !bytesEqual(nonce, overall.nonce));
  if (other === undefined) run.note(checkBytes(id, overall.nonce, expected));
  else run.fail(id, 'nvidia.eat.nonces-differ', toHex(overall.nonce), toHex(other.nonce));
}

function checkResult(isOverallGood: boolean, devices: readonly NrasDevice[], run: Run): void {
  const id = 'nvidia.eat.result';
  const bad = devices.filter((device) => !device.isMeasuredAsExpected || !device.isDebugDisabled);
  const isGood = isOverallGood && bad.length === 0;
  const got = isGood ? 'good' : [`overall ${isOverallGood}`, ...bad.map(({ name }) => name)].join(', ');
  run.note(check(id, id, isGood, 'good', got));
}

function deviceOf(name: string, payload: Members): NrasDevice {
  return {
    name,
    isMeasuredAsExpected: jsonString(payload.get('measres') ?? '') === 'success',
    isDebugDisabled: jsonString(payload.get('dbgstat') ?? '') === 'disabled',
  };
}

function parseDetachedEat(bytes: Uint8Array): DetachedEat {
  if (bytes.length > TOKEN_MAX_BYTES)
    fail('token', `at most ${TOKEN_MAX_BYTES} bytes`, `${bytes.length} bytes`);
  const parts = elementsOf(utf8Decode(bytes, 'token'), 2, 'token');
  const [overallPart, devicesPart] = parts as [string, string];
  const [kind, text] = elementsOf(overallPart, 2, 'token.0') as [string, string];
  if (jsonString(kind) !== 'JWT') fail('token.0.0', '"JWT"', kind.slice(0, 32));
  const overall = parseToken(text, 'token.0.1');
  const result = overall.payload.get('x-nvidia-overall-att-result');
  if (result !== 'true' && result !== 'false') fail('token.0.1.result', 'true or false', 'another value');
  const devices = new Map<string, Token>();
  for (const [name, token] of membersOf(devicesPart, 'token.1')) {
    if (devices.size === DEVICES_MAX) fail('token.1', `at most ${DEVICES_MAX} devices`, 'more');
    devices.set(name, parseToken(token, `token.1.${devices.size}`));
  }
  if (devices.size === 0) fail('token.1', 'a device', 'none');
  return { overall, isOverallGood: result === 'true', digests: readDigests(overall.payload), devices };
}

/** `submods` as `{name: ["DIGEST", ["SHA-256", hex]]}`. */
function readDigests(payload: Members): ReadonlyMap<string, Uint8Array> {
  const path = 'token.0.1.submods';
  const digests = new Map<string, Uint8Array>();
  for (const [name, submodule] of membersOf(payload.get('submods') ?? '', path)) {
    const [kind, digest] = elementsOf(submodule, 2, path) as [string, string];
    const [algorithm, hex] = elementsOf(digest, 2, path) as [string, string];
    if (jsonString(kind) !== 'DIGEST' || jsonString(algorithm) !== 'SHA-256')
      fail(path, '["DIGEST", ["SHA-256", ...]]', submodule.slice(0, 64));
    digests.set(name, hexBytes(hex, path));
  }
  return digests;
}

/** A JWS in compact form (RFC 7515 section 7.1) with algorithm ES384 and no other choice. */
function parseToken(json: string, path: string): Token {
  const text = jsonString(json) ?? fail(path, 'a string', 'another value');
  const parts = text.split('.');
  if (parts.length !== 3) fail(path, 'three parts', `${parts.length}`);
  const [headerPart, payloadPart, signaturePart] = parts as [string, string, string];
  const header = membersOf(utf8Decode(base64Url(headerPart, `${path}.header`)), `${path}.header`);
  const payload = membersOf(utf8Decode(base64Url(payloadPart, `${path}.payload`)), `${path}.payload`);
  const signature = base64Url(signaturePart, `${path}.signature`);
  if (signature.length !== SIGNATURE_BYTES)
    fail(`${path}.signature`, `${SIGNATURE_BYTES} bytes`, `${signature.length}`);
  const seconds = (name: string): number => 1000 * secondsOf(payload.get(name), `${path}.${name}`);
  return {
    text,
    kid: readHeader(header, path),
    payload,
    signature,
    issuer: jsonString(payload.get('iss') ?? '') ?? fail(`${path}.iss`, 'a string', 'another value'),
    nonce: readNonce(payload.get('eat_nonce') ?? '', `${path}.eat_nonce`),
    issuedMs: seconds('iat'),
    notBeforeMs: seconds('nbf'),
    expiresMs: seconds('exp'),
  };
}

/** The id of the key. Any other member could change what the signature means. */
function readHeader(header: Members, path: string): string {
  const unknown = [...header.keys()].find((name) => !['alg', 'kid', 'typ'].includes(name));
  if (unknown !== undefined) fail(`${path}.header`, 'alg, kid and typ', JSON.stringify(unknown));
  const algorithm = jsonString(header.get('alg') ?? '');
  if (algorithm !== 'ES384') fail(`${path}.header.alg`, 'ES384', JSON.stringify(algorithm));
  const kid = jsonString(header.get('kid') ?? '');
  if (kid === null || kid === '' || kid.length > KID_MAX_CHARS)
    return fail(`${path}.header.kid`, 'the id of a key', 'none');
  return kid;
}

function readNonce(json: string, path: string): Uint8Array {
  const nonce = hexBytes(json, path);
  return nonce.length === NONCE_BYTES ? nonce : fail(path, `${NONCE_BYTES} bytes`, `${nonce.length}`);
}

function hexBytes(json: string, path: string): Uint8Array {
  return fromHex(jsonString(json) ?? fail(path, 'hex digits', 'another value'), path);
}

function secondsOf(json: string | undefined, path: string): number {
  if (json === undefined || !/^(0|[1-9][0-9]{0,11})$/.test(json) || Number(json) > SECONDS_MAX)
    return fail(path, 'seconds since the Unix epoch', 'another value');
  return Number(json);
}

function base64Url(text: string, path: string): Uint8Array {
  return base64UrlOf(text) ?? fail(path, 'base64url', 'another text');
}

function elementsOf(text: string, count: number, path: string): readonly string[] {
  const elements = jsonValue(text) === undefined ? null : jsonElements(text);
  if (elements === null || elements.length !== count)
    return fail(path, `an array of ${count}`, elements === null ? 'another value' : `${elements.length}`);
  return elements;
}

function membersOf(text: string, path: string): Members {
  const members = jsonValue(text) === undefined ? null : jsonMembers(text);
  return members ?? fail(path, 'an object that names each member once', 'another value');
}

function fail(path: string, expected: string, got: string): never {
  throw new MalformedError('nvidia.eat.form', path, expected, got);
}
