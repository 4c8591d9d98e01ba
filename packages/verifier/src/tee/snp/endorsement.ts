/**
 * What AMD's certificates say beyond X.509: names (57230, "VCEK Certificate Format" and its siblings for ASK, ARK and VLEK) and
 * the extensions below 1.3.6.1.4.1.3704.1 of an endorsement key.
 */
import { bytesEqual, MalformedError } from '@haca/primitives';
import type { SnpProduct } from '@haca/protocol';
import type { Certificate, Extension } from '../../der/certificate.ts';
import { DerReader, TAG } from '../../der/reader.ts';
import { isZero, productLine, productOfProductName } from './product.ts';

/** Extensions of an endorsement key's certificate. */
export interface SnpVekExtensions {
  readonly structVersion: number;
  /** As written, e.g. `Milan-B0`. */
  readonly productName: string;
  readonly product: SnpProduct;
  /** 8 bytes: the security patch levels in the product's layout of TCB_VERSION. */
  readonly tcb: Uint8Array;
  /** The chip, 64 bytes (Turin: 8): a VCEK has it. */
  readonly hardwareId: Uint8Array | null;
  /** The cloud provider, as AMD certified it: a VLEK has it. */
  readonly cspId: string | null;
}

const ARC = '1.3.6.1.4.1.3704.1.';
const OID = {
  structVersion: `${ARC}1`,
  productName: `${ARC}2`,
  hardwareId: `${ARC}4`,
  cspId: `${ARC}5`,
} as const;
const SPL_ARC = `${ARC}3.`;
const IA5_STRING = 0x16;
const CSP_ID_BYTES_MAX = 128;
/** 2.5.4.3, as it is encoded: the types of the other attributes may be anything. */
const COMMON_NAME_OID = Uint8Array.of(0x55, 0x04, 0x03);

/**
 * Exactly the extensions of a VCEK or a VLEK, each in the one encoding AMD writes: numbers as INTEGER, texts as IA5String, the
 * hardware id bare. Extensions of others are not looked at; one of AMD's that is unknown is malformed, because it may be a part
 * of the TCB that would go uncompared. Throws `MalformedError`.
 */
export function snpVekExtensions({ extensions }: Pick<Certificate, 'extensions'>): SnpVekExtensions {
  const own = new Map(
    extensions.filter(({ oid }) => oid.startsWith(ARC)).map((extension) => [extension.oid, extension]),
  );
  const structVersion = readUint8(own, OID.structVersion);
  const productName = readText(own, OID.productName, 32);
  const product = productOfProductName(productName);
  if (product === null) fail('product', 'productName', 'a known product', JSON.stringify(productName));
  if (structVersion !== productLine(product).structVersion)
    fail('product', 'structVersion', `${productLine(product).structVersion}`, `${structVersion}`);
  const tcb = readTcb(own, product);
  const cspId = own.has(OID.cspId) ? readText(own, OID.cspId, CSP_ID_BYTES_MAX) : null;
  const hardwareId = own.has(OID.hardwareId) ? readHardwareId(own, product) : null;
  if ((cspId === null) === (hardwareId === null))
    fail('kind', '', 'either a hardware id or a csp id', cspId === null ? 'neither' : 'both');
  const [unknown] = own.keys();
  if (unknown !== undefined) fail('unknown', '', 'only known extensions of AMD', unknown);
  return { structVersion, productName, product, tcb, hardwareId, cspId };
}

/** Extensions not read yet, by object identifier. */
type Own = Map<string, Extension>;

function take(own: Own, oid: string): Uint8Array {
  const extension = own.get(oid);
  own.delete(oid);
  return extension === undefined ? fail('missing', '', `extension ${oid}`, 'none') : extension.value;
}

function readUint8(own: Own, oid: string): number {
  const reader = new DerReader(take(own, oid), `vek.${oid}`);
  const value = reader.uint('value', 255);
  reader.end();
  return value;
}

function readText(own: Own, oid: string, maxBytes: number): string {
  const reader = new DerReader(take(own, oid), `vek.${oid}`);
  const { content } = reader.element(IA5_STRING, 'value');
  reader.end();
  const isText = content.length > 0 && content.length <= maxBytes && content.every(isPrintable);
  if (!isText) fail('text', oid, `1 to ${maxBytes} printable ASCII characters`, `${content.length} bytes`);
  return String.fromCharCode(...content);
}

function isPrintable(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f;
}

function readTcb(own: Own, product: SnpProduct): Uint8Array {
  const tcb = new Uint8Array(8);
  for (const [spl, at] of productLine(product).tcbBytes) tcb[at] = readUint8(own, `${SPL_ARC}${spl}`);
  return tcb;
}

function readHardwareId(own: Own, product: SnpProduct): Uint8Array {
  const value = take(own, OID.hardwareId);
  const { chipIdBytes } = productLine(product);
  if (value.length !== chipIdBytes)
    fail('hardware-id', 'hardwareId', `${chipIdBytes} bytes`, `${value.length}`);
  if (isZero(value)) fail('hardware-id', 'hardwareId', 'the id of a chip', 'zeros');
  return new Uint8Array(value);
}

function fail(code: string, path: string, expected: string, got: string): never {
  throw new MalformedError(`snp.vek-${code}`, path === '' ? 'vek' : `vek.${path}`, expected, got);
}

/** The text of the one commonName of a Name, or null. Throws `MalformedError` for what is no Name in DER. */
export function commonNameOf(name: Uint8Array): string | null {
  const found: Uint8Array[] = [];
  const relativeNames = new DerReader(name, 'name').sequence('name');
  while (!relativeNames.isAtEnd) {
    const attributes = relativeNames.open(TAG.set, 'relativeName');
    while (!attributes.isAtEnd) {
      const attribute = attributes.sequence('attribute');
      const oid = attribute.content(TAG.oid, 'type');
      const { tag, content } = attribute.any('value');
      const isText = tag === TAG.utf8String || tag === TAG.printableString;
      if (bytesEqual(oid, COMMON_NAME_OID)) found.push(isText ? content : new Uint8Array(0));
    }
  }
  const [only, second] = found;
  if (only === undefined || second !== undefined || only.length === 0 || only.length > 64) return null;
  return only.every(isPrintable) ? String.fromCharCode(...only) : null;
}
