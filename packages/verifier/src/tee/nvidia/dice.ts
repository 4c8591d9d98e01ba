/**
 * What firmware a device derived its attestation key from, as its certificate says (TCG DICE). Two forms: the older composite
 * device id (version, device key, FWID; Hopper, LS10) and DiceTcbInfo (DICE Attestation Architecture 1.1 section 6.1.1; Blackwell).
 */
import type { Certificate, Extension } from '../../der/certificate.ts';
import { contextTag, DerReader, TAG } from '../../der/reader.ts';

const DICE = '2.23.133.5.4.1';
const DICE_TCB_INFO = '2.23.133.5.4.1.1';
const SHA384 = '2.16.840.1.101.3.4.2.2';
const SHA384_BYTES = 48;
const FWIDS_MAX = 16;
const TCB_INFO_TAGS = 12;
const FWIDS_TAG = contextTag(6);
const FLAGS_TAG = 0x87;
const INTEGRITY_REGISTERS_TAG = contextTag(11);
/** OperationalFlags as bits of the first octet. */
const FLAG = { notSecure: 0x40, recovery: 0x20, debug: 0x10 } as const;

export interface DiceIdentity {
  /** SHA-384 of the firmware the key was derived for. */
  readonly fwid: Uint8Array;
  /** The device's own key, where the form has it: an uncompressed P-384 point. */
  readonly deviceKey: Uint8Array | null;
  /** Set flags that mean that the device isn't to be trusted; null where the form has no flags. */
  readonly flags: readonly (keyof typeof FLAG)[] | null;
}

/** Null where the certificate has no such extension. Throws `MalformedError`. */
export function readDiceIdentity(leaf: Certificate, name: string): DiceIdentity | null {
  const extensions = leaf.extensions.filter(({ oid }) => oid === DICE || oid === DICE_TCB_INFO);
  const [extension] = extensions;
  if (extension === undefined) return null;
  const reader = new DerReader(extension.value, `${name}.dice`);
  if (extensions.length > 1) reader.fail('nvidia.dice', '', 'one statement of the firmware', 'two');
  const fields = reader.sequence('value');
  reader.end();
  return isComposite(extension, fields) ? readComposite(fields) : readTcbInfo(fields);
}

/** The shorter OID stands for either form; DiceTcbInfo has context tags only. */
function isComposite({ oid }: Extension, fields: DerReader): boolean {
  return oid === DICE && fields.nextIs(TAG.integer);
}

function readComposite(fields: DerReader): DiceIdentity {
  const version = fields.uint('version', 255);
  if (version !== 1) fields.fail('nvidia.dice', 'version', '1', `${version}`);
  const key = fields.sequence('deviceKey');
  const algorithm = key.sequence('algorithm');
  algorithm.oid('oid');
  algorithm.oid('curve');
  algorithm.end();
  const { bytes, unusedBits } = key.bitString('point');
  if (unusedBits !== 0) key.fail('der.bit-string', 'point', 'whole bytes', `${unusedBits} unused bits`);
  key.end();
  const fwid = readFwid(fields, 'fwid');
  fields.end();
  return { fwid, deviceKey: bytes, flags: null };
}

function readTcbInfo(fields: DerReader): DiceIdentity {
  let fwid: Uint8Array | null = null;
  let flags: DiceIdentity['flags'] = null;
  let previous = -1;
  while (!fields.isAtEnd) {
    const { tag, content } = fields.any('field');
    const number = tag & 0x1f;
    const isConstructed = tag === FWIDS_TAG || tag === INTEGRITY_REGISTERS_TAG;
    if (!(isConstructed || tag === (0x80 | number)) || number <= previous || number >= TCB_INFO_TAGS)
      fields.fail('nvidia.dice', 'field', `a field after ${previous}`, `tag 0x${tag.toString(16)}`);
    previous = number;
    if (tag === FWIDS_TAG) fwid = readFirstFwid(content, fields);
    if (tag === FLAGS_TAG) flags = readFlags(content, fields);
  }
  return fwid === null
    ? fields.fail('nvidia.dice', 'fwids', 'a FWID', 'none')
    : { fwid, deviceKey: null, flags };
}

/** NVIDIA's statement about the firmware of the attestation key comes first; the others it fills with zeros. */
function readFirstFwid(content: Uint8Array, fields: DerReader): Uint8Array {
  const list = new DerReader(content, 'certificate.dice.fwids');
  const fwids: Uint8Array[] = [];
  while (!list.isAtEnd) {
    if (fwids.length === FWIDS_MAX) list.fail('nvidia.dice', '', `at most ${FWIDS_MAX} FWIDs`, 'more');
    fwids.push(readFwid(list, `${fwids.length}`));
  }
  return fwids[0] ?? fields.fail('nvidia.dice', 'fwids', 'at least one', 'none');
}

function readFwid(reader: DerReader, name: string): Uint8Array {
  const fwid = reader.sequence(name);
  const algorithm = fwid.oid('algorithm');
  if (algorithm !== SHA384) fwid.fail('nvidia.dice', 'algorithm', `${SHA384} (SHA-384)`, algorithm);
  const digest = fwid.octetString('digest');
  if (digest.length !== SHA384_BYTES)
    fwid.fail('nvidia.dice', 'digest', `${SHA384_BYTES} bytes`, `${digest.length}`);
  fwid.end();
  return digest;
}

/** Content of an IMPLICIT BIT STRING. Bits beyond the first octet say nothing that is asked here. */
function readFlags(content: Uint8Array, fields: DerReader): DiceIdentity['flags'] {
  const [unusedBits, first] = content;
  if (unusedBits === undefined || unusedBits > 7 || (unusedBits > 0 && first === undefined))
    return fields.fail('der.bit-string', 'flags', 'a count of 0 to 7 unused bits', 'none or another');
  const last = content[content.length - 1] as number;
  if (content.length > 1 && (last & ((1 << unusedBits) - 1)) !== 0)
    return fields.fail('der.bit-string', 'flags', 'unused bits of zero', 'others');
  return (Object.keys(FLAG) as (keyof typeof FLAG)[]).filter((flag) => ((first ?? 0) & FLAG[flag]) !== 0);
}
