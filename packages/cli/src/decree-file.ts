/** Decrees as files: JSON that people read before they sign it. What is signed is worked out of it anew, never taken from it. */
import { readFileSync } from 'node:fs';
import { fromHex, MalformedError, toHex } from '@haca/primitives';
import {
  type AcceptedTcbStatus,
  type Decree,
  type DecreeAction,
  decreeMessage,
  EVIDENCE_KINDS,
  HARDWARE_VENDORS,
  type Hardware,
  type Measurement,
  measurementIdOf,
  PROOF_KINDS,
  REBUILDS_MAX,
  type ReleaseInfo,
  SNP_PRODUCTS,
  type SnpTcbFloor,
  TCB_STATUS_KINDS,
  TCB_STATUSES,
  toJsonView,
} from '@haca/protocol';
import type { DecreeSignature } from '@haca/sdk/node';
import { parseCertificate, parsePemCertificates, parsePolicy } from '@haca/verifier';
import { CommandLineError, suggestion } from './command.ts';

export interface DecreeFile {
  readonly decree: Decree;
  readonly signatures: readonly DecreeSignature[];
}

type Json = Readonly<Record<string, unknown>>;

/** Members of each action beside `kind`; `?` may be left out. */
export const ACTION_FORMS: Readonly<Record<DecreeAction['kind'], string>> = {
  'disable-proof-kind': '"proofKind": "zk"',
  'enable-proof-kind': '"proofKind": "zk"',
  'propose-measurement':
    '"measurement": {"kind", "name", "registers": {...}}, "release": {"sourceCommit", "recipe", "rebuilds"?: [SHA-256...]}, "isEmergency"?: false',
  'deprecate-measurement': '"measurementId": HEX, "height": N',
  'revoke-measurement': '"measurementId": HEX',
  'revoke-certificate': '"issuer": HEX, "serial": HEX, or "file": "certificate.pem"',
  'set-tcb-floor': '"product": "milan", "floor": {"bootloader", "tee", "snp", "microcode", "fmc"?} or null',
  'set-tcb-statuses': '"evidenceKind": "tdx", "statuses": ["UpToDate", ...]',
  'register-hardware': '"hardware": {"vendor": "intel", "id": HEX}, "provider": TEXT',
  'unregister-hardware': '"hardware": {"vendor", "id"}',
  'revoke-hardware': '"hardware": {"vendor", "id"}',
};
const ACTION_KINDS = Object.keys(ACTION_FORMS) as readonly DecreeAction['kind'][];

export function formatDecreeFile({ decree, signatures }: DecreeFile): string {
  const { chainId, serial, action } = decree;
  const doc = {
    version: 1,
    kind: 'haca-decree',
    chainId,
    serial,
    action: actionView(action),
    message: toHex(decreeMessage(decree)),
    signatures: signatures.map(({ validator, signature }) => ({
      validator: toHex(validator),
      signature: toHex(signature),
    })),
  };
  return `${JSON.stringify(doc, null, 2)}\n`;
}

/** Throws `MalformedError`; a message that is not that of the decree is one. */
export function parseDecreeFile(text: string): DecreeFile {
  const doc = members(jsonOf(text, 'the decree'), 'decree', [
    'version',
    'kind',
    'chainId',
    'serial',
    'action',
    'message',
    'signatures',
  ]);
  if (doc['version'] !== 1 || doc['kind'] !== 'haca-decree')
    throw bad('decree.kind', 'a haca-decree file of version 1', doc['kind']);
  const decree = {
    chainId: text1(doc['chainId'], 'decree.chainId', 50),
    serial: whole(doc['serial'], 'decree.serial'),
    action: parseAction(doc['action']),
  };
  const message = toHex(decreeMessage(decree));
  if (doc['message'] !== message) throw bad('decree.message', message, doc['message']);
  const signatures = list(doc['signatures'], 'decree.signatures', 100).map((entry, i) => {
    const path = `decree.signatures.${i}`;
    const each = members(entry, path, ['validator', 'signature']);
    return {
      validator: hex(each['validator'], `${path}.validator`, 20),
      signature: hex(each['signature'], `${path}.signature`, 64),
    };
  });
  return { decree, signatures };
}

/** The same members as in the file, every one written out. */
function actionView(action: DecreeAction): unknown {
  if (action.kind !== 'propose-measurement') return toJsonView(flattened(action));
  const { measurement, release, isEmergency } = action;
  const registers = Object.fromEntries(
    measurement.registers.map(({ register, value }) => [register, toHex(value)]),
  );
  const { kind, name } = measurement;
  return {
    kind: action.kind,
    measurementId: toHex(measurementIdOf(measurement)),
    measurement: { kind, name, registers },
    release: toJsonView(release),
    isEmergency,
  };
}

function flattened(action: DecreeAction): Json {
  if (action.kind !== 'revoke-certificate') return { ...action };
  return { kind: action.kind, ...action.certificate };
}

/** An action as JSON text or as the value of it. Throws `MalformedError` naming the member, `CommandLineError` for an unknown kind. */
export function parseAction(value: unknown): DecreeAction {
  const doc = typeof value === 'string' ? jsonOf(value, '--action') : value;
  const kind = typeof doc === 'object' && doc !== null ? (doc as Json)['kind'] : undefined;
  const known = ACTION_KINDS.find((each) => each === kind);
  if (known === undefined) {
    const said =
      typeof kind === 'string'
        ? `there is no action ${kind}${suggestion(kind, ACTION_KINDS)}`
        : 'an action has a "kind"';
    throw new CommandLineError(`${said}. Kinds: ${ACTION_KINDS.join(', ')}`);
  }
  return ACTION_PARSERS[known](doc);
}

const ACTION_PARSERS: Readonly<Record<DecreeAction['kind'], (value: unknown) => DecreeAction>> = {
  'disable-proof-kind': (value) => ({ kind: 'disable-proof-kind', ...proofKindOf(value) }),
  'enable-proof-kind': (value) => ({ kind: 'enable-proof-kind', ...proofKindOf(value) }),
  'propose-measurement': parseProposal,
  'deprecate-measurement': (value) => {
    const doc = actionMembers(value, ['measurementId', 'height']);
    return {
      kind: 'deprecate-measurement',
      measurementId: hex(doc['measurementId'], 'action.measurementId', 32),
      height: whole(doc['height'], 'action.height'),
    };
  },
  'revoke-measurement': (value) => {
    const doc = actionMembers(value, ['measurementId']);
    return {
      kind: 'revoke-measurement',
      measurementId: hex(doc['measurementId'], 'action.measurementId', 32),
    };
  },
  'revoke-certificate': parseRevocation,
  'set-tcb-floor': parseFloor,
  'set-tcb-statuses': (value) => {
    const doc = actionMembers(value, ['evidenceKind', 'statuses']);
    const statuses = list(doc['statuses'], 'action.statuses', TCB_STATUSES.length).map((each, i) =>
      oneOf(each, `action.statuses.${i}`, TCB_STATUSES),
    );
    return {
      kind: 'set-tcb-statuses',
      evidenceKind: oneOf(doc['evidenceKind'], 'action.evidenceKind', TCB_STATUS_KINDS),
      statuses: inOrder(statuses),
    };
  },
  'register-hardware': (value) => {
    const doc = actionMembers(value, ['hardware', 'provider']);
    const provider = text1(doc['provider'], 'action.provider', 64);
    return { kind: 'register-hardware', hardware: hardwareOf(doc['hardware']), provider };
  },
  'unregister-hardware': (value) => ({
    kind: 'unregister-hardware',
    hardware: hardwareOf(actionMembers(value, ['hardware'])['hardware']),
  }),
  'revoke-hardware': (value) => ({
    kind: 'revoke-hardware',
    hardware: hardwareOf(actionMembers(value, ['hardware'])['hardware']),
  }),
};

function proofKindOf(value: unknown) {
  const doc = actionMembers(value, ['proofKind']);
  return { proofKind: oneOf(doc['proofKind'], 'action.proofKind', PROOF_KINDS) };
}

/** The order that the chain asks for. */
function inOrder(statuses: readonly AcceptedTcbStatus[]): readonly AcceptedTcbStatus[] {
  return TCB_STATUSES.filter((status) => statuses.includes(status));
}

function parseProposal(value: unknown): DecreeAction {
  const doc = actionMembers(value, ['measurement', 'measurementId', 'release', 'isEmergency']);
  const measurement = parseMeasurement(doc['measurement'], 'action.measurement');
  const id = toHex(measurementIdOf(measurement));
  if (doc['measurementId'] !== undefined && doc['measurementId'] !== id)
    throw bad('action.measurementId', id, doc['measurementId']);
  const isEmergency = doc['isEmergency'] ?? false;
  if (typeof isEmergency !== 'boolean') throw bad('action.isEmergency', 'true or false', isEmergency);
  return { kind: 'propose-measurement', measurement, release: releaseOf(doc['release']), isEmergency };
}

/** As in policies of `haca evidence verify`, with the kind of evidence that it is for. */
export function parseMeasurement(value: unknown, path: string): Measurement {
  const doc = members(value, path, ['kind', 'name', 'registers', 'pcrs']);
  const kind = oneOf(doc['kind'], `${path}.kind`, EVIDENCE_KINDS);
  text1(doc['name'], `${path}.name`, 64);
  const { measurements } = parsePolicy(kind, { measurements: [doc] });
  const [measurement] = typeof measurements === 'string' ? [] : measurements;
  if (measurement === undefined) throw bad(path, 'a measurement', value);
  return measurement;
}

function releaseOf(value: unknown): ReleaseInfo {
  const doc = members(value, 'action.release', ['sourceCommit', 'recipe', 'rebuilds']);
  const rebuilds =
    doc['rebuilds'] === undefined ? [] : list(doc['rebuilds'], 'action.release.rebuilds', REBUILDS_MAX);
  return {
    sourceCommit: text1(doc['sourceCommit'], 'action.release.sourceCommit', 64),
    recipe: text1(doc['recipe'], 'action.release.recipe', 256),
    rebuilds: rebuilds.map((each, i) => hex(each, `action.release.rebuilds.${i}`, 32)),
  };
}

function parseRevocation(value: unknown): DecreeAction {
  const doc = actionMembers(value, ['issuer', 'serial', 'file']);
  if (doc['file'] === undefined) {
    const issuer = hex(doc['issuer'], 'action.issuer', 1, 512);
    return {
      kind: 'revoke-certificate',
      certificate: { issuer, serial: hex(doc['serial'], 'action.serial', 1, 20) },
    };
  }
  if (doc['issuer'] !== undefined || doc['serial'] !== undefined)
    throw bad('action.file', 'a file, or issuer and serial, not both', doc['file']);
  const { issuer, serial } = certificateOf(text1(doc['file'], 'action.file', 4096));
  return { kind: 'revoke-certificate', certificate: { issuer, serial } };
}

const CERTIFICATE_MAX_BYTES = 64 * 1024;

function certificateOf(path: string): { readonly issuer: Uint8Array; readonly serial: Uint8Array } {
  const bytes = new Uint8Array(readFileSync(path));
  if (bytes.length > CERTIFICATE_MAX_BYTES)
    throw bad('action.file', 'one certificate', `${bytes.length} bytes`);
  const DER_SEQUENCE = 0x30;
  const ders =
    bytes[0] === DER_SEQUENCE
      ? [bytes]
      : parsePemCertificates(new TextDecoder().decode(bytes), 'action.file');
  if (ders.length !== 1) throw bad('action.file', 'one certificate', `${ders.length}`);
  return parseCertificate(ders[0] as Uint8Array, 'certificate');
}

function parseFloor(value: unknown): DecreeAction {
  const doc = actionMembers(value, ['product', 'floor']);
  const product = oneOf(doc['product'], 'action.product', SNP_PRODUCTS);
  return { kind: 'set-tcb-floor', product, floor: doc['floor'] === null ? null : floorOf(doc['floor']) };
}

function floorOf(value: unknown): SnpTcbFloor {
  const doc = members(value, 'action.floor', ['bootloader', 'tee', 'snp', 'microcode', 'fmc']);
  const svn = (name: string): number => whole(doc[name], `action.floor.${name}`, 255);
  const fmc = doc['fmc'] === undefined || doc['fmc'] === null ? null : svn('fmc');
  return {
    bootloader: svn('bootloader'),
    tee: svn('tee'),
    snp: svn('snp'),
    microcode: svn('microcode'),
    fmc,
  };
}

function hardwareOf(value: unknown): Hardware {
  const doc = members(value, 'action.hardware', ['vendor', 'id']);
  return {
    vendor: oneOf(doc['vendor'], 'action.hardware.vendor', HARDWARE_VENDORS),
    id: hex(doc['id'], 'action.hardware.id', 1, 64),
  };
}

function actionMembers(value: unknown, known: readonly string[]): Json {
  return members(value, 'action', ['kind', ...known]);
}

function jsonOf(text: string, path: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, '')) as unknown;
  } catch (error) {
    throw new MalformedError('decree.malformed', path, 'JSON', (error as Error).message);
  }
}

function members(value: unknown, path: string, known: readonly string[]): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(path, 'an object', value);
  for (const name of Object.keys(value)) if (!known.includes(name)) throw bad(path, known.join(' | '), name);
  return value as Json;
}

function list(value: unknown, path: string, max: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > max) throw bad(path, `a list of at most ${max}`, value);
  return value;
}

function text1(value: unknown, path: string, max: number): string {
  if (typeof value !== 'string' || value === '' || value.length > max)
    throw bad(path, `a text of 1 to ${max} characters`, value);
  return value;
}

function whole(value: unknown, path: string, max = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max)
    throw bad(path, `a whole number up to ${max}`, value);
  return value;
}

function hex(value: unknown, path: string, minBytes: number, maxBytes = minBytes): Uint8Array {
  const isHex = typeof value === 'string' && /^(?:[0-9a-fA-F]{2})+$/.test(value);
  const size = isHex ? value.length / 2 : -1;
  if (!isHex || size < minBytes || size > maxBytes) {
    const count = minBytes === maxBytes ? `${minBytes}` : `${minBytes} to ${maxBytes}`;
    throw bad(path, `${count} bytes as hex`, value);
  }
  return fromHex(value.toLowerCase());
}

function oneOf<const T extends string>(value: unknown, path: string, names: readonly T[]): T {
  const found = names.find((name) => name === value);
  if (found === undefined) throw bad(path, names.join(' | '), value);
  return found;
}

function bad(path: string, expected: string, got: unknown): MalformedError {
  const shown = got === undefined ? 'nothing' : JSON.stringify(got).slice(0, 200);
  return new MalformedError('decree.malformed', path, expected, shown);
}
