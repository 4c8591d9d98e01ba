/** What NVIDIA's certificates say about the device in its names. */
import { utf8Decode } from '@haca/primitives';
import type { Certificate } from '../../der/certificate.ts';
import { DerReader, TAG } from '../../der/reader.ts';

const COMMON_NAME = '2.5.4.3';

export type NvidiaArchitecture = 'hopper' | 'blackwell' | 'rubin' | 'ls10';
export type NvidiaDeviceType = 'gpu' | 'nvswitch';

export interface NvidiaDevice {
  readonly type: NvidiaDeviceType;
  readonly architecture: NvidiaArchitecture;
  /** Common name of the device's certificate, e.g. `GH100 A01 GSP BROM`: NVIDIA's `hwmodel`. */
  readonly model: string;
}

const PRODUCTS: readonly (readonly [
  pattern: RegExp,
  type: NvidiaDeviceType,
  architecture: NvidiaArchitecture,
])[] = [
  [/^GH[0-9]{2}[0-9A-Z]$/, 'gpu', 'hopper'],
  [/^GB[0-9]{2}[0-9A-Z]$/, 'gpu', 'blackwell'],
  [/^GR[0-9]{2}[0-9A-Z]$/, 'gpu', 'rubin'],
  [/^LS_10$/, 'nvswitch', 'ls10'],
];

/**
 * By the certificate of the device's own identity key (boot ROM), which NVIDIA issued: never by what the device says of
 * itself. Null where the name is none that is known.
 */
export function deviceOf(deviceCertificate: Certificate): NvidiaDevice | null {
  const model = commonNameOf(deviceCertificate);
  const product = /^([A-Z0-9_]+) [A-Z0-9]+ [A-Z0-9]+ BROM$/.exec(model ?? '')?.[1];
  if (model === null || product === undefined) return null;
  const known = PRODUCTS.find(([pattern]) => pattern.test(product));
  return known === undefined ? null : { type: known[1], architecture: known[2], model };
}

/** The product in a model's name, e.g. `GH100`. */
export function chipOf({ model }: Pick<NvidiaDevice, 'model'>): string {
  return model.split(' ')[0] as string;
}

/** Of the subject; null where there is not exactly one, or it is no text. */
export function commonNameOf({ subject }: Certificate): string | null {
  const found: string[] = [];
  const relativeNames = new DerReader(subject, 'subject').sequence('name');
  while (!relativeNames.isAtEnd) {
    const attributes = relativeNames.open(TAG.set, 'relativeName');
    while (!attributes.isAtEnd) {
      const attribute = attributes.sequence('attribute');
      const type = attribute.oid('type');
      const { tag, content } = attribute.any('value');
      if (type !== COMMON_NAME) continue;
      if (tag !== TAG.utf8String && tag !== TAG.printableString) return null;
      found.push(utf8Decode(content, 'subject.commonName'));
    }
  }
  return found.length === 1 ? (found[0] as string) : null;
}
