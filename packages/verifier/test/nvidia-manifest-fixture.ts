/**
 * Made-up reference manifests: every form is written down twice, as NVIDIA writes it and as Canonical XML has it, so that nothing
 * here is made by the code under test.
 */
import { createHash, sign } from 'node:crypto';
import { toHex, utf8Encode } from '@haca/primitives';
import type { TrustRoot } from '../src/index.ts';
import {
  type Block,
  CA_EXTENSIONS,
  type CertificatePlan,
  certificate,
  GPU_REPORT,
  generalizedTime,
  type Key,
  LEAF_EXTENSIONS,
  newKey,
  utcTime,
} from './nvidia-fixture.ts';

export const SPACES = {
  swid: 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd',
  sha384: 'http://www.w3.org/2001/04/xmlenc#sha384',
  rim: 'https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/',
  opaque: 'https://docs.nvidia.com/attestation/specs/latest/opaque-data.html',
  signature: 'http://www.w3.org/2000/09/xmldsig#',
} as const;
const C14N = 'http://www.w3.org/2006/12/xml-c14n11';
const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature';
const ECDSA_SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384';
const SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#sha384';

export interface ManifestSigner {
  readonly root: TrustRoot;
  readonly rootDer: Uint8Array;
  /** DER, signer first. */
  readonly certificates: readonly Uint8Array[];
  readonly key: Key;
}

/** Changes of one certificate; 0 is the signer. */
export type SignerChanges = Readonly<Record<number, Partial<CertificatePlan>>>;

const NAMES = [
  'Test RIM Signer',
  'Test Reference Value L3',
  'Test Reference Value CA',
  'Test RIM Root',
] as const;
/** The signer for two years, as NVIDIA's are. */
export const SIGNER_END_MS = Date.UTC(2028, 0, 1);

const LONG_FORM = [generalizedTime('20230511000000Z'), generalizedTime('20330511235959Z')] as const;
const VALIDITIES = [
  [utcTime('260101000000Z'), utcTime('280101000000Z')],
  LONG_FORM,
  LONG_FORM,
  [utcTime('230316153734Z'), generalizedTime('20530308153734Z')],
] as const;

/** Four certificates, their times written as NVIDIA writes them. */
export function mintManifestSigner(changes: SignerChanges = {}): ManifestSigner {
  const keys = NAMES.map(newKey);
  const certificates = NAMES.map((subject, i) => {
    const above = Math.min(i + 1, NAMES.length - 1);
    return certificate({
      subject,
      issuer: NAMES[above] as string,
      key: keys[i] as Key,
      issuerKey: keys[above] as Key,
      serial: Uint8Array.of(0x51, i + 1),
      extensions: i === 0 ? LEAF_EXTENSIONS : CA_EXTENSIONS,
      validity: VALIDITIES[i] as (typeof VALIDITIES)[number],
      ...changes[i],
    });
  });
  const rootDer = certificates[NAMES.length - 1] as Uint8Array;
  const sha256 = new Uint8Array(createHash('sha256').update(rootDer).digest());
  return { root: { sha256, simulated: true }, rootDer, certificates, key: keys[0] as Key };
}

export interface RecordPlan {
  readonly index: number;
  readonly active: boolean;
  /** In hex. */
  readonly values: readonly string[];
  /** Stands for a minimum, not for values. */
  readonly minimum?: number;
  readonly name?: string;
}

export interface ManifestPlan {
  readonly product: string;
  readonly version: string;
  readonly tagId: string;
  readonly records: readonly RecordPlan[];
}

const ZEROS = '00'.repeat(48);

/** All 64 blocks of a report, of which those of `active` count. */
export function recordsOf(
  blocks: readonly Block[],
  isActive: (index: number) => boolean,
): readonly RecordPlan[] {
  return blocks.map(({ value }, index) => ({
    index,
    active: isActive(index),
    values: [isActive(index) ? toHex(value) : ZEROS],
  }));
}

/** Of the made-up Hopper GPU. The driver has the measurements from 13 on, as with NVIDIA. */
export const DRIVER_MANIFEST: ManifestPlan = {
  product: 'GH100',
  version: '550.90.07',
  tagId: 'aa'.repeat(48),
  records: recordsOf(GPU_REPORT.blocks, (index) => index >= 13),
};
export const VBIOS_MANIFEST: ManifestPlan = {
  product: 'GH100',
  version: '96.00.9F.00.01',
  tagId: 'bb'.repeat(48),
  records: recordsOf(GPU_REPORT.blocks, (index) => index < 13),
};

interface Form {
  readonly source: string;
  readonly canonical: string;
}

function record({ index, active, values, minimum, name = `Measurement_${index}` }: RecordPlan): Form {
  const flag = active ? 'True' : 'False';
  if (minimum !== undefined)
    return {
      source: `<ns0:Resource type="Measurement" index="${index}" active="${flag}" alternatives="1" ns3:minSvn="${minimum}" ns3:includeInResult="true" name="${name}" size="2"/>`,
      canonical: `<ns0:Resource active="${flag}" alternatives="1" index="${index}" name="${name}" size="2" type="Measurement" ns3:includeInResult="true" ns3:minSvn="${minimum}"></ns0:Resource>`,
    };
  const hashes = values.map((value, i) => ` ns2:Hash${i}="${value}"`).join('');
  const size = (values[0] ?? '').length / 2;
  return {
    source: `<ns0:Resource type="Measurement" index="${index}" active="${flag}" alternatives="${values.length}"${hashes} name="${name}" size="${size}"/>`,
    canonical: `<ns0:Resource active="${flag}" alternatives="${values.length}" index="${index}" name="${name}" size="${size}" type="Measurement"${hashes}></ns0:Resource>`,
  };
}

/** Without the signature, which stands before the end tag. */
function body({ product, version, tagId, records }: ManifestPlan): Form {
  const resources = records.map(record);
  const list = (form: keyof Form): string => resources.map((each) => `        ${each[form]}\n`).join('');
  return {
    source: `<SoftwareIdentity xmlns="${SPACES.swid}" xmlns:ns0="${SPACES.swid}" xmlns:ns2="${SPACES.sha384}" corpus="false" name="${product}" patch="false" supplemental="false" tagId="${tagId}" version="1.0" tagVersion="0">
    <ns0:Entity name="NVIDIA Corporation" role="softwareCreator tagCreator"/>
    <ns0:Meta xmlns:ns1="${SPACES.rim}" colloquialVersion="${version}" edition="GPU" product="${product}" revision="r1" PayloadType="direct" ns1:PlatformModel="${product}" ns1:FirmwareManufacturerId="5703"/>
    <ns0:Payload xmlns:SHA384="${SPACES.sha384}" xmlns:ns3="${SPACES.opaque}">
${list('source')}    </ns0:Payload>
`,
    canonical: `<SoftwareIdentity xmlns="${SPACES.swid}" xmlns:ns0="${SPACES.swid}" xmlns:ns2="${SPACES.sha384}" corpus="false" name="${product}" patch="false" supplemental="false" tagId="${tagId}" tagVersion="0" version="1.0">
    <ns0:Entity name="NVIDIA Corporation" role="softwareCreator tagCreator"></ns0:Entity>
    <ns0:Meta xmlns:ns1="${SPACES.rim}" PayloadType="direct" colloquialVersion="${version}" edition="GPU" product="${product}" revision="r1" ns1:FirmwareManufacturerId="5703" ns1:PlatformModel="${product}"></ns0:Meta>
    <ns0:Payload xmlns:SHA384="${SPACES.sha384}" xmlns:ns3="${SPACES.opaque}">
${list('canonical')}    </ns0:Payload>
`,
  };
}

function signedInfo(digest: string): Form {
  const source = `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="${C14N}"/><ds:SignatureMethod Algorithm="${ECDSA_SHA384}"/><ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="${ENVELOPED}"/><ds:Transform Algorithm="${C14N}"/></ds:Transforms><ds:DigestMethod Algorithm="${SHA384}"/><ds:DigestValue>${digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>`;
  const canonical = source
    .replaceAll(/<(ds:[A-Za-z]+)( [^>]*)\/>/g, '<$1$2></$1>')
    .replace(
      '<ds:SignedInfo>',
      `<ds:SignedInfo xmlns="${SPACES.swid}" xmlns:ds="${SPACES.signature}" xmlns:ns0="${SPACES.swid}" xmlns:ns2="${SPACES.sha384}">`,
    );
  return { source, canonical };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

function pem(der: Uint8Array): string {
  return `${(base64(der).match(/.{1,64}/g) ?? []).join('\n')}\n`;
}

export function mintManifest({ certificates, key }: ManifestSigner, plan: ManifestPlan): Uint8Array {
  const { source, canonical } = body(plan);
  const digest = createHash('sha384').update(`${canonical}</SoftwareIdentity>`).digest('base64');
  const info = signedInfo(digest);
  const signature = sign('sha384', utf8Encode(info.canonical), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  const keyInfo = certificates.map((der) => `<ds:X509Certificate>${pem(der)}</ds:X509Certificate>`).join('');
  return utf8Encode(
    `${source}<ds:Signature xmlns:ds="${SPACES.signature}">${info.source}<ds:SignatureValue>${signature.toString('base64')}</ds:SignatureValue><ds:KeyInfo><ds:X509Data>${keyInfo}</ds:X509Data></ds:KeyInfo></ds:Signature></SoftwareIdentity>\n`,
  );
}
