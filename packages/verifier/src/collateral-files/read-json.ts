/**
 * Collateral in JSON: signed objects as Intel's service answers with, and bundles with all of it as members. Bundles differ in
 * how their tools spell the names of members and encode bytes. A member that is there is passed on with whatever it holds, so
 * that what is wrong with it fails where it is verified and is never taken for missing.
 */
import { utf8Encode } from '@haca/primitives';
import { isJson, JSON_DEPTH_MAX, jsonElements, jsonMembers, jsonString } from '../file-forms/json-text.ts';
import { pemBlocks } from '../file-forms/pem-blocks.ts';
import { bytesOfText, textOf } from '../file-forms/text-forms.ts';
import { describeQeIdentity, describeTcbInfo } from './describe.ts';
import type { LibraryDraft, SignedJsonEntry } from './library.ts';
import { addCertificates, addRevocationList, issuerChainOf } from './read-binary.ts';
import { addManifest, addServiceKeys } from './read-manifest.ts';

const VALUES_MAX = 20_000;
const CRL_MEMBERS = {
  rootcacrl: 'root',
  rootcrl: 'root',
  pckcrl: 'intermediate',
} as const;
const SIGNED_MEMBERS = {
  tcbinfo: 'intel-tcb-info',
  qeidentity: 'intel-qe-identity',
  tdqeidentity: 'intel-qe-identity',
  enclaveidentity: 'intel-qe-identity',
  // Names of the structures that contracts on chains keep them in.
  tcbinfostr: 'intel-tcb-info',
  identitystr: 'intel-qe-identity',
} as const;

/** Whether anything was found. `text` must be valid JSON. */
export function readJson(text: string, origin: string, draft: LibraryDraft): boolean {
  const walk = { origin, draft, left: VALUES_MAX };
  const found = readValue(text, origin, 0, walk);
  return (jsonMembers(text)?.has('keys') === true && addServiceKeys(text, origin, draft)) || found;
}

interface Walk {
  readonly draft: LibraryDraft;
  left: number;
}

function readValue(text: string, origin: string, depth: number, walk: Walk): boolean {
  if (depth > JSON_DEPTH_MAX || walk.left-- <= 0) return false;
  const string = jsonString(text);
  if (string !== null) return readString(string, origin, depth, walk);
  const elements = jsonElements(text);
  if (elements !== null)
    return anyOf(elements.map((element, i) => () => readValue(element, `${origin}.${i}`, depth + 1, walk)));
  const members = jsonMembers(text);
  if (members === null) return false;
  const taken = readMembers(members, origin, walk.draft);
  const others = [...members].filter(([name]) => !taken.has(name));
  const found = anyOf(
    others.map(
      ([name, value]) =>
        () =>
          readValue(value, memberOrigin(origin, name), depth + 1, walk),
    ),
  );
  return taken.size > 0 || found;
}

/** All of them run. */
function anyOf(reads: readonly (() => boolean)[]): boolean {
  return reads.reduce((found, read) => read() || found, false);
}

function memberOrigin(origin: string, name: string): string {
  const short = name.slice(0, 40);
  return origin.includes('#') ? `${origin}.${short}` : `${origin}#${short}`;
}

/** Text that holds PEM, or JSON again. */
function readString(text: string, origin: string, depth: number, walk: Walk): boolean {
  if (/^\s*[[{]/.test(text) && isJson(text)) return readValue(text, origin, depth + 1, walk);
  const { certificates, crls } = pemBlocks(text);
  const found = addCertificates(certificates, origin, walk.draft);
  for (const crl of crls) addRevocationList(crl, origin, walk.draft);
  return found || crls.length > 0;
}

/** Names of the members that were taken for collateral. */
function readMembers(
  members: ReadonlyMap<string, string>,
  origin: string,
  draft: LibraryDraft,
): ReadonlySet<string> {
  const spelled = new Map([...members.keys()].map((name) => [spelling(name), name]));
  const taken = new Set<string>();
  const take = (normal: string): string | undefined => {
    const name = spelled.get(normal);
    const value = name === undefined ? undefined : members.get(name);
    if (name === undefined || value === undefined) return undefined;
    taken.add(name);
    return value;
  };
  const isSigned = spelled.has('signature');
  // As NVIDIA's service for manifests answers.
  const manifest = bytesOfText(jsonString(members.get('rim') ?? '') ?? '');
  if (manifest !== null && addManifest(manifest, memberOrigin(origin, 'rim'), draft)) taken.add('rim');
  for (const [normal, kind] of Object.entries(SIGNED_MEMBERS)) {
    if (!spelled.has(normal) || !looksSigned(normal, spelled, members)) continue;
    const given = take(normal);
    if (given === undefined) continue;
    const chain = take(`${normal}issuerchain`);
    const signature = take(`${normal}signature`) ?? (isSigned ? take('signature') : undefined);
    const at = memberOrigin(origin, spelled.get(normal) as string);
    draft.signedJson.push(signedJsonOf(kind, given, signature, chain, at));
    if (chain !== undefined) addCertificates(pemBlocks(plain(chain)).certificates, origin, draft);
  }
  const crlChain = take('pckcrlissuerchain');
  if (crlChain !== undefined) addCertificates(pemBlocks(plain(crlChain)).certificates, origin, draft);
  for (const [normal, role] of Object.entries(CRL_MEMBERS)) {
    const given = take(normal);
    if (given === undefined) continue;
    const chain = role === 'intermediate' && crlChain !== undefined ? issuerChainOf(plain(crlChain)) : null;
    const at = memberOrigin(origin, spelled.get(normal) as string);
    addRevocationList(bytesOfValue(given), at, draft, role, chain);
  }
  return taken;
}

/** `tcb_info`, `tcbInfo`, `TCB-Info`: one name. */
function spelling(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

/** `tcbInfo` is a common word: without a signature beside or inside it, it is somebody's report. */
function looksSigned(
  normal: string,
  spelled: ReadonlyMap<string, string>,
  members: ReadonlyMap<string, string>,
): boolean {
  if (spelled.has('signature') || spelled.has(`${normal}signature`) || spelled.has(`${normal}issuerchain`))
    return true;
  return plain(members.get(spelled.get(normal) as string) as string).includes('"signature"');
}

function signedJsonOf(
  kind: SignedJsonEntry['kind'],
  given: string,
  signature: string | undefined,
  chain: string | undefined,
  origin: string,
): SignedJsonEntry {
  const whole = plain(given);
  const inside = isJson(whole) ? jsonMembers(whole) : null;
  const wrapped = inside?.get('tcbInfo') ?? inside?.get('enclaveIdentity');
  const innerSignature = wrapped === undefined ? undefined : inside?.get('signature');
  const body = utf8Encode((innerSignature === undefined ? whole : (wrapped as string)).toWellFormed());
  const signed = innerSignature ?? signature;
  return {
    origin,
    kind,
    body,
    signature: signed === undefined ? new Uint8Array(0) : bytesOfValue(signed),
    issuerChain: chain === undefined ? null : issuerChainOf(plain(chain)),
    ...(kind === 'intel-tcb-info' ? describeTcbInfo(body) : describeQeIdentity(body)),
  };
}

/** A string's text, also where it is written as numbers with a zero at its end, as C has it; any other value as it stands. */
function plain(value: string): string {
  const numbers = bytesOfNumbers(value);
  return jsonString(value) ?? (numbers === null ? null : textOf(withoutFinalZero(numbers))) ?? value;
}

/** Bytes as hex, base64, PEM or a list of numbers; what is none of these as its own text. */
function bytesOfValue(value: string): Uint8Array {
  const numbers = bytesOfNumbers(value);
  const inner = numbers === null ? null : textOf(withoutFinalZero(numbers));
  if (numbers !== null && inner === null) return numbers;
  const text = value === 'null' ? '' : (inner ?? plain(value));
  return pemBlocks(text).crls[0] ?? bytesOfText(text) ?? numbers ?? utf8Encode(text.toWellFormed());
}

/** Bytes with or without a sign. */
function bytesOfNumbers(value: string): Uint8Array | null {
  const numbers = jsonElements(value)?.map(Number);
  const isBytes = numbers?.every((each) => Number.isInteger(each) && each >= -128 && each < 256);
  return numbers !== undefined && isBytes === true ? Uint8Array.from(numbers, (each) => each & 0xff) : null;
}

function withoutFinalZero(bytes: Uint8Array): Uint8Array {
  return bytes[bytes.length - 1] === 0 ? bytes.subarray(0, -1) : bytes;
}
