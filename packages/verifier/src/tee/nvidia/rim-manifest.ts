/**
 * Reference integrity manifests (RIM) of NVIDIA: SWID tags (ISO/IEC 19770-2) with the measurements that a release of driver or
 * VBIOS gives, and an enveloped XML signature. Parsing checks form only.
 */
import { fromHex, MalformedError } from '@haca/primitives';
import { base64Of } from '../../file-forms/text-forms.ts';
import { parseNarrowXml, type XmlElement } from './rim-xml.ts';

export const MANIFEST_LIMITS = {
  records: 512,
  alternatives: 32,
  certificateBytes: 4096,
  /** Signer, issuer for releases, issuer for a product line, root. */
  certificates: 4,
} as const;

export type NvidiaManifestKind = 'driver' | 'vbios';

/** What a manifest says of one measurement of the report. */
export interface ManifestMeasurement {
  /** As in `MeasurementBlock`: 0 for the first. */
  readonly index: number;
  /** Whether it counts. */
  readonly active: boolean;
  readonly name: string;
  /** The alternatives, one at least, all of the size that is stated. */
  readonly values: readonly Uint8Array[];
}

/** A field of the report's opaque data that has to be a number not below a minimum. */
export interface ManifestMinimum {
  readonly fieldType: number;
  readonly name: string;
  readonly minimum: number;
}

/** What a manifest says, whoever signed it. */
export interface NvidiaManifestContent {
  /** By the form of its version, which is all that tells them apart. */
  readonly kind: NvidiaManifestKind;
  readonly tagId: string;
  /** The chip, e.g. `GH100`. */
  readonly product: string;
  /** Of driver (`550.90.07`) or VBIOS (`96.00.9F.00.01`): SWID's colloquialVersion. */
  readonly version: string;
  readonly measurements: readonly ManifestMeasurement[];
  /** The active ones. */
  readonly minimums: readonly ManifestMinimum[];
}

export interface ParsedNvidiaManifest extends NvidiaManifestContent {
  readonly root: XmlElement;
  readonly signature: XmlElement;
  readonly signedInfo: XmlElement;
  /** SHA-384 of the document without its signature, as the signed part states it: 48 bytes. */
  readonly digest: Uint8Array;
  /** r and s, 96 bytes. */
  readonly signatureValue: Uint8Array;
  /** DER, root first. */
  readonly certificates: readonly Uint8Array[];
}

const SPACE = {
  swid: 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd',
  sha384: 'http://www.w3.org/2001/04/xmlenc#sha384',
  opaque: 'https://docs.nvidia.com/attestation/specs/latest/opaque-data.html',
  signature: 'http://www.w3.org/2000/09/xmldsig#',
} as const;

/** The one choice of algorithms (XML Signature section 6, RFC 9231). */
const ALGORITHM = {
  canonical: 'http://www.w3.org/2006/12/xml-c14n11',
  enveloped: 'http://www.w3.org/2000/09/xmldsig#enveloped-signature',
  digest: 'http://www.w3.org/2001/04/xmldsig-more#sha384',
  signature: 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384',
} as const;

const DIGEST_BYTES = 48;
const SIGNATURE_BYTES = 96;
const PATH = 'manifest';

/** Throws `MalformedError`. */
export function parseNvidiaManifest(bytes: Uint8Array): ParsedNvidiaManifest {
  const root = parseNarrowXml(bytes, PATH);
  requireName(root, SPACE.swid, 'SoftwareIdentity', PATH);
  const parts = elementsOf(root, PATH);
  const signature = parts.at(-1);
  if (signature === undefined || !isNamed(signature, SPACE.signature, 'Signature'))
    return fail('nvidia.rim.signature-form', PATH, 'a signature at the end', 'another element');
  const { meta, payload } = readParts(parts.slice(0, -1));
  const version = attributeOf(meta, 'colloquialVersion', `${PATH}.Meta`);
  return {
    kind: kindOf(version),
    tagId: attributeOf(root, 'tagId', PATH),
    product: attributeOf(meta, 'product', `${PATH}.Meta`),
    version,
    ...readPayload(payload),
    root,
    signature,
    ...readSignature(signature),
  };
}

/** Each once: what counts, whoever looks for the first or the last of its name. Entities and links say nothing that is read. */
function readParts(parts: readonly XmlElement[]): {
  readonly meta: XmlElement;
  readonly payload: XmlElement;
} {
  const known = (element: XmlElement, ...names: readonly string[]): boolean =>
    names.some((name) => isNamed(element, SPACE.swid, name));
  const other = parts.find((element) => !known(element, 'Entity', 'Link', 'Meta', 'Payload'));
  if (other !== undefined) fail('nvidia.rim.element', PATH, 'Entity, Link, Meta, Payload', other.name);
  const metas = parts.filter((element) => known(element, 'Meta'));
  const payloads = parts.filter((element) => known(element, 'Payload'));
  const [meta, payload] = [metas[0], payloads[0]];
  if (meta === undefined || payload === undefined || metas.length + payloads.length > 2)
    return fail(
      'nvidia.rim.element',
      PATH,
      'one Meta and one Payload',
      `${metas.length}, ${payloads.length}`,
    );
  for (const element of parts) if (element !== payload) requireEmpty(element, `${PATH}.${element.local}`);
  return { meta, payload };
}

/** Versions of VBIOSes are five bytes in hex; drivers have three digits first and at most three parts. */
function kindOf(version: string): NvidiaManifestKind {
  if (/^[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f]{2}){4}$/.test(version)) return 'vbios';
  if (/^[0-9]{3}(?:\.[0-9]{1,4}){1,2}$/.test(version)) return 'driver';
  return fail(
    'nvidia.rim.version-form',
    `${PATH}.Meta.colloquialVersion`,
    'the version of a driver or a VBIOS',
    JSON.stringify(version.slice(0, 64)),
  );
}

/** From here on indices stand for types of opaque fields. */
const OPAQUE_INDEX_BASE = 0x1000;
const OPAQUE_TYPE_MAX = 0xffff;
const INDEX_MAX = 254;

function readPayload(payload: XmlElement): Pick<NvidiaManifestContent, 'measurements' | 'minimums'> {
  const measurements: ManifestMeasurement[] = [];
  const minimums: ManifestMinimum[] = [];
  const seen = new Set<number>();
  const records = elementsOf(payload, `${PATH}.Payload`);
  if (records.length > MANIFEST_LIMITS.records)
    fail('nvidia.rim.records', `${PATH}.Payload`, `at most ${MANIFEST_LIMITS.records}`, `${records.length}`);
  for (const [at, record] of records.entries()) {
    const path = `${PATH}.Payload.${at}`;
    requireName(record, SPACE.swid, 'Resource', path);
    requireEmpty(record, path);
    const index = readIndex(record, path);
    if (seen.has(index)) fail('nvidia.rim.duplicate-index', path, 'each index once', `${index} again`);
    seen.add(index);
    if (index < OPAQUE_INDEX_BASE) measurements.push(readMeasurement(record, index, path));
    else {
      const minimum = readMinimum(record, index - OPAQUE_INDEX_BASE, path);
      if (minimum !== null) minimums.push(minimum);
    }
  }
  if (!measurements.some(({ active }) => active))
    fail('nvidia.rim.empty', `${PATH}.Payload`, 'an active measurement', 'none');
  return { measurements, minimums };
}

const RECORD_ATTRIBUTES = ['type', 'index', 'active', 'alternatives', 'name', 'size'];

function readIndex(record: XmlElement, path: string): number {
  const type = attributeOf(record, 'type', path);
  if (type !== 'Measurement') fail('nvidia.rim.record', `${path}.type`, 'Measurement', JSON.stringify(type));
  const other = record.attributes.find(
    ({ space, local }) =>
      !(space === '' && RECORD_ATTRIBUTES.includes(local)) &&
      !(space === SPACE.sha384 && /^Hash[0-9]{1,2}$/.test(local)) &&
      !(space === SPACE.opaque && (local === 'minSvn' || local === 'includeInResult')),
  );
  if (other !== undefined) fail('nvidia.rim.record', path, 'attributes that are known', other.name);
  const index = numberOf(record, 'index', OPAQUE_INDEX_BASE + OPAQUE_TYPE_MAX, path);
  return index <= INDEX_MAX || index >= OPAQUE_INDEX_BASE
    ? index
    : fail('nvidia.rim.record', `${path}.index`, `at most ${INDEX_MAX}, or of a field`, `${index}`);
}

function readMeasurement(record: XmlElement, index: number, path: string): ManifestMeasurement {
  const count = numberOf(record, 'alternatives', MANIFEST_LIMITS.alternatives, path);
  const hashes = record.attributes.filter(({ space }) => space !== '');
  if (count < 1 || hashes.length !== count)
    fail('nvidia.rim.alternatives', path, `${Math.max(1, count)} alternatives`, `${hashes.length}`);
  const size = numberOf(record, 'size', DIGEST_BYTES, path);
  const values = Array.from({ length: count }, (_, i) => {
    const value = fromHex(
      attributeOf(record, `Hash${i}`, path, SPACE.sha384).toLowerCase(),
      `${path}.Hash${i}`,
    );
    return value.length === size && size > 0
      ? value
      : fail('nvidia.rim.size', `${path}.Hash${i}`, `${size} bytes`, `${value.length}`);
  });
  return { index, active: isActive(record, path), name: attributeOf(record, 'name', path), values };
}

/** Null where it is not active: then nothing else of it counts. */
function readMinimum(record: XmlElement, fieldType: number, path: string): ManifestMinimum | null {
  if (!isActive(record, path)) return null;
  const hash = record.attributes.find(({ space }) => space === SPACE.sha384);
  if (hash !== undefined) fail('nvidia.rim.record', path, 'no digest for a field', hash.name);
  const minimum = numberOf(record, 'minSvn', Number.MAX_SAFE_INTEGER, path, SPACE.opaque);
  return { fieldType, name: attributeOf(record, 'name', path), minimum };
}

function isActive(record: XmlElement, path: string): boolean {
  const active = attributeOf(record, 'active', path);
  if (active !== 'True' && active !== 'False')
    fail('nvidia.rim.record', `${path}.active`, 'True or False', JSON.stringify(active));
  return active === 'True';
}

/** XML Signature section 4, with no choice anywhere. */
function readSignature(
  signature: XmlElement,
): Pick<ParsedNvidiaManifest, 'signedInfo' | 'digest' | 'signatureValue' | 'certificates'> {
  const path = `${PATH}.Signature`;
  const [signedInfo, value, keyInfo] = signatureParts(
    signature,
    ['SignedInfo', 'SignatureValue', 'KeyInfo'],
    path,
  );
  const [canonical, method, reference] = signatureParts(
    signedInfo,
    ['CanonicalizationMethod', 'SignatureMethod', 'Reference'],
    `${path}.SignedInfo`,
  );
  requireAlgorithm(canonical, ALGORITHM.canonical, path);
  requireAlgorithm(method, ALGORITHM.signature, path);
  requireAttributes(reference, { URI: '' }, path);
  const [transforms, digestMethod, digest] = signatureParts(
    reference,
    ['Transforms', 'DigestMethod', 'DigestValue'],
    `${path}.Reference`,
  );
  const [enveloped, transform] = signatureParts(transforms, ['Transform', 'Transform'], `${path}.Transforms`);
  requireAlgorithm(enveloped, ALGORITHM.enveloped, path);
  requireAlgorithm(transform, ALGORITHM.canonical, path);
  requireAlgorithm(digestMethod, ALGORITHM.digest, path);
  for (const each of [signature, signedInfo, value, keyInfo, transforms, digest])
    requireAttributes(each, {}, path);
  return {
    signedInfo,
    digest: base64Bytes(digest, DIGEST_BYTES, `${path}.DigestValue`),
    signatureValue: base64Bytes(value, SIGNATURE_BYTES, `${path}.SignatureValue`),
    certificates: readCertificates(keyInfo, path),
  };
}

/** In the file the signer comes first. */
function readCertificates(keyInfo: XmlElement, path: string): readonly Uint8Array[] {
  const [data] = signatureParts(keyInfo, ['X509Data'], `${path}.KeyInfo`);
  requireAttributes(data, {}, path);
  const names = Array.from({ length: MANIFEST_LIMITS.certificates }, () => 'X509Certificate');
  return signatureParts(data, names, `${path}.X509Data`)
    .map((each, at) => {
      requireAttributes(each, {}, path);
      return pemBytes(each, `${path}.X509Certificate.${at}`);
    })
    .reverse();
}

type Parts<Names extends readonly string[]> = { readonly [At in keyof Names]: XmlElement };

/** Exactly these children in this order, nothing between them, and no namespace declared on the way. */
function signatureParts<const Names extends readonly string[]>(
  element: XmlElement,
  names: Names,
  path: string,
): Parts<Names> {
  const { children } = element;
  const isWhole =
    children.length === names.length &&
    children.every(
      (child, at) =>
        typeof child !== 'string' &&
        child.declared.size === 0 &&
        isNamed(child, SPACE.signature, names[at] as string),
    );
  if (isWhole) return children as unknown as Parts<Names>;
  const got = children.map((child) => (typeof child === 'string' ? 'text' : child.name)).slice(0, 8);
  return fail('nvidia.rim.signature-form', path, names.join(', '), got.join(', ') || 'nothing');
}

function requireAlgorithm(element: XmlElement, algorithm: string, path: string): void {
  requireAttributes(element, { Algorithm: algorithm }, path);
  requireEmpty(element, `${path}.${element.local}`);
}

/** These attributes with these values, and no others. */
function requireAttributes(
  { local: element, attributes }: XmlElement,
  expected: Readonly<Record<string, string>>,
  path: string,
): void {
  const names = Object.keys(expected);
  const other = attributes.find(
    ({ space, local, value }) => space !== '' || !Object.hasOwn(expected, local) || expected[local] !== value,
  );
  if (other === undefined && attributes.length === names.length) return;
  const wanted = names.map((name) => `${name}="${expected[name]}"`).join(' ') || 'no attributes';
  fail(
    'nvidia.rim.algorithm',
    `${path}.${element}`,
    wanted,
    other === undefined ? 'others' : `${other.name}="${other.value}"`,
  );
}

function base64Bytes(element: XmlElement, sizeBytes: number, path: string): Uint8Array {
  const text = textOf(element, path);
  const isCanonical = text.length === (sizeBytes * 4) / 3 && /^[A-Za-z0-9+/]+$/.test(text);
  return (
    (isCanonical ? base64Of(text) : null) ??
    fail('nvidia.rim.base64', path, `${sizeBytes} bytes in base64`, JSON.stringify(text.slice(0, 64)))
  );
}

const PEM_LINE_CHARS = 64;

/** In one line, or in PEM's lines of 64 characters, each of which but the last has to end; canonical and padded. */
function pemBytes(element: XmlElement, path: string): Uint8Array {
  const text = textOf(element, path);
  const lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
  const isPem = lines.every(
    (line, at) =>
      line.length > 0 &&
      line.length <= PEM_LINE_CHARS &&
      (at === lines.length - 1 || line.length === PEM_LINE_CHARS),
  );
  const body = lines.join('');
  const isCanonical =
    (isPem || lines.length === 1) && body.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(body);
  const der = isCanonical ? base64Of(body) : null;
  if (der !== null && der.length <= MANIFEST_LIMITS.certificateBytes) return der;
  return fail(
    'nvidia.rim.base64',
    path,
    `a certificate of up to ${MANIFEST_LIMITS.certificateBytes} bytes in base64`,
    JSON.stringify(text.slice(0, 64)),
  );
}

function textOf({ children }: XmlElement, path: string): string {
  const [text] = children;
  if (children.length === 1 && typeof text === 'string') return text;
  return fail('nvidia.rim.element', path, 'text alone', children.length === 0 ? 'nothing' : 'elements');
}

function isNamed(element: XmlElement, space: string, local: string): boolean {
  return element.space === space && element.local === local;
}

function requireName(element: XmlElement, space: string, local: string, path: string): void {
  if (!isNamed(element, space, local))
    fail(
      'nvidia.rim.element',
      path,
      `{${space}}${local}`,
      `{${element.space}}${element.local}`.slice(0, 128),
    );
}

function requireEmpty({ children }: XmlElement, path: string): void {
  if (children.length > 0) fail('nvidia.rim.element', path, 'an element without content', 'content');
}

/** Child elements; between them only blanks and line feeds. */
function elementsOf({ children }: XmlElement, path: string): readonly XmlElement[] {
  return children.flatMap((child) => {
    if (typeof child !== 'string') return [child];
    if (/[^ \n]/.test(child))
      fail('nvidia.rim.element', path, 'elements alone', JSON.stringify(child.slice(0, 32)));
    return [];
  });
}

function attributeOf({ attributes }: XmlElement, name: string, path: string, space = ''): string {
  const found = attributes.find((attribute) => attribute.space === space && attribute.local === name);
  return found === undefined || found.value === ''
    ? fail('nvidia.rim.attribute', `${path}.${name}`, 'an attribute', 'none')
    : found.value;
}

/** Decimal, without leading zeros. */
function numberOf(element: XmlElement, name: string, max: number, path: string, space = ''): number {
  const text = attributeOf(element, name, path, space);
  const value = /^(?:0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
  return value <= max
    ? value
    : fail(
        'nvidia.rim.attribute',
        `${path}.${name}`,
        `a number up to ${max}`,
        JSON.stringify(text.slice(0, 32)),
      );
}

function fail(code: string, path: string, expected: string, got: string): never {
  throw new MalformedError(code, path, expected, got);
}
