/** Every parser that reads bytes of others, with what it is fuzzed from. A test holds this table against the exported names. */
import { type Codec, decode, encode, MalformedError, utf8Encode } from '@haca/primitives';
import {
  azureDocumentCodec,
  collateralCodec,
  dstackDocumentCodec,
  nvidiaDocumentCodec,
  snpDocumentCodec,
} from '@haca/protocol';
import {
  DerReader,
  parseCertificate,
  parseNitroEnvelope,
  parseNitroPayload,
  parseNitroPolicy,
  parsePemCertificates,
} from '@haca/verifier';
import {
  certificates,
  nitroPayloads,
  pemCertificates,
  textOf,
  vectorFiles,
} from '../tee-documents/vector-files.ts';
import type { Form } from './trees.ts';

export interface FuzzedParser {
  readonly name: string;
  /** Names that `@haca/verifier` exports and this entry calls. */
  readonly exports: readonly string[];
  readonly form: Form;
  readonly seeds: () => readonly Uint8Array[];
  /** Returns for input it takes, throws `MalformedError` for all other; anything else is a fault. */
  readonly parse: (bytes: Uint8Array) => unknown;
}

const BLANK = new Uint8Array(64);

/** Reads as `codec` and demands that what was read is written as the same bytes. */
function canonical<T>(codec: Codec<T>): (bytes: Uint8Array) => T {
  return (bytes) => {
    const value = decode(codec, bytes, 'document');
    const again = encode(codec, value);
    if (again.length !== bytes.length || again.some((byte, at) => byte !== bytes[at]))
      throw new Error('two encodings of one document');
    return value;
  };
}

/** What a caller hands to the readers of JSON values; text that is no JSON never gets there. */
function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(bytes));
  } catch {
    throw new MalformedError('json.malformed', '', 'JSON', 'other text');
  }
}

function walkDer(reader: DerReader): number {
  let elements = 0;
  while (!reader.isAtEnd) {
    elements++;
    const element = reader.any('element');
    if ((element.tag & 0x20) !== 0) elements += walkDer(reader.inside(element, 'inside'));
    else readScalar(new DerReader(element.raw, 'scalar'), element.tag);
  }
  return elements;
}

function readScalar(reader: DerReader, tag: number): unknown {
  switch (tag) {
    case 0x01:
      return reader.boolean('boolean');
    case 0x02:
      return reader.unsigned('integer', 64);
    case 0x03:
      return reader.bitString('bits');
    case 0x06:
      return reader.oid('oid');
    case 0x17:
    case 0x18:
      return reader.time('time');
    default:
      return null;
  }
}

const withChain = (
  kind: string,
  report: Uint8Array,
): readonly { report: Uint8Array; certificates: Uint8Array[] }[] => [
  { report, certificates: [...pemCertificates(kind).slice(0, 2), BLANK].slice(0, 3) },
];

export const PARSERS: readonly FuzzedParser[] = [
  {
    name: 'DER elements',
    exports: ['DerReader'],
    form: 'der',
    seeds: () => [
      ...certificates(),
      ...vectorFiles('tdx', '.der'),
      Uint8Array.of(0x30, 0x03, 0x01, 0x01, 0xff),
    ],
    parse: (bytes) => walkDer(new DerReader(bytes, 'input')),
  },
  {
    name: 'certificate',
    exports: ['parseCertificate'],
    form: 'der',
    seeds: certificates,
    parse: (bytes) => parseCertificate(bytes, 'certificate'),
  },
  {
    name: 'PEM certificates',
    exports: ['parsePemCertificates'],
    form: 'bytes',
    seeds: () => ['tdx', 'snp', 'nvidia'].flatMap((kind) => vectorFiles(kind, '.pem')),
    parse: (bytes) => parsePemCertificates(textOf(bytes), 'pem'),
  },
  {
    name: 'Nitro envelope',
    exports: ['parseNitroEnvelope'],
    form: 'cbor',
    seeds: () => vectorFiles('nitro', '.bin'),
    parse: parseNitroEnvelope,
  },
  {
    name: 'Nitro payload',
    exports: ['parseNitroPayload'],
    form: 'cbor',
    seeds: nitroPayloads,
    parse: parseNitroPayload,
  },
  {
    name: 'SNP document',
    exports: [],
    form: 'cbor',
    seeds: () => withChain('snp', new Uint8Array(1184)).map((document) => encode(snpDocumentCodec, document)),
    parse: canonical(snpDocumentCodec),
  },
  {
    name: 'NVIDIA document',
    exports: [],
    form: 'cbor',
    seeds: () =>
      withChain('nvidia', new Uint8Array(2048)).map((document) => encode(nvidiaDocumentCodec, document)),
    parse: canonical(nvidiaDocumentCodec),
  },
  {
    name: 'dstack document',
    exports: [],
    form: 'cbor',
    seeds: () => [
      encode(dstackDocumentCodec, {
        quote: BLANK,
        events: [
          { imr: 0, eventType: 0, digest: new Uint8Array(48), name: '', payload: new Uint8Array(0) },
          { imr: 3, eventType: 0x0800_0001, digest: null, name: 'app-id', payload: BLANK },
          { imr: 3, eventType: 0x0800_0001, digest: null, name: 'compose-hash', payload: BLANK, version: 2 },
        ],
      }),
    ],
    parse: canonical(dstackDocumentCodec),
  },
  {
    name: 'Azure document',
    exports: [],
    form: 'cbor',
    seeds: () =>
      [null, BLANK].map((tdQuote) =>
        encode(azureDocumentCodec, {
          hclReport: BLANK,
          tdQuote,
          certificates: tdQuote === null ? [BLANK, BLANK, BLANK] : [],
          tpmQuote: BLANK,
          tpmSignature: new Uint8Array(256),
          pcrs: Array.from({ length: 24 }, () => new Uint8Array(32)),
        }),
      ),
    parse: canonical(azureDocumentCodec),
  },
  {
    name: 'collateral',
    exports: [],
    form: 'cbor',
    seeds: () => {
      const signed = { body: utf8Encode('{"version":3}'), signature: BLANK, issuerChain: [BLANK, BLANK] };
      const list = { crl: BLANK, issuerChain: [] };
      return [
        encode(collateralCodec, { kind: 'intel-tcb-info', ...signed }),
        encode(collateralCodec, { kind: 'intel-qe-identity', ...signed }),
        encode(collateralCodec, { kind: 'intel-crl', ...list }),
        encode(collateralCodec, { kind: 'amd-crl', ...list }),
      ];
    },
    parse: canonical(collateralCodec),
  },
  {
    name: 'Nitro policy',
    exports: ['parseNitroPolicy'],
    form: 'json',
    seeds: () => [
      utf8Encode(
        `{"allowDebug":false,"measurements":[{"name":"a","pcrs":{"0":"${'00'.repeat(48)}","1":"${'11'.repeat(48)}","2":"${'22'.repeat(48)}"}}],` +
          '"maxAgeMs":60000,"maxFutureSkewMs":"allow-any","userData":null,"nonce":"00ff","publicKey":"allow-any"}',
      ),
    ],
    parse: (bytes) => parseNitroPolicy(jsonOf(bytes)),
  },
];

/** Whether an exception is how parsers say no. */
export function isRefusal(error: unknown): error is MalformedError {
  return error instanceof MalformedError;
}
