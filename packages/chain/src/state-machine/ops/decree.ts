/** Decrees: what validators with more than two thirds of the power decide together, and five sixths where it can't wait. */
import { bytesEqual, compareBytes, domainHash, encode } from '@haca/primitives';
import {
  type DecreeAction,
  decreeActionCodec,
  decreeMessage,
  type Hardware,
  type HardwareRecord,
  hardwareIdOf,
  LIVE_MEASUREMENTS_MAX,
  type MeasurementRecord,
  measurementIdOf,
  type OpOf,
  REVOKED_CERTIFICATES_MAX,
  SNP_PRODUCTS,
  type SnpTcbFloor,
  TCB_STATUS_KINDS,
  TCB_STATUSES,
} from '@haca/protocol';
import { changeEvidencePolicy } from '../evidence-policy.ts';
import { isKindDisabled } from '../governance.ts';
import { addMeasurement, liveIndex, measurementPhase } from '../measurements.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { openState } from '../state.ts';
import {
  evidencePolicyOf,
  governanceOf,
  hardwares,
  measurementIndexOf,
  measurements,
  putGovernance,
  putMeasurementIndex,
  putRevokedCertificates,
  revokedCertificatesOf,
  validatorSetOf,
  validators,
} from '../tables.ts';
import type { BlockHead, ExecutionContext, StateView } from '../types.ts';
import type { EventValue, Outcome, Step } from './step.ts';

/** What of the block a decree sees. */
type DecreeStep = Pick<Step, 'state' | 'ctx' | 'emit'> & { readonly block: BlockHead };
type ActionOf<K extends DecreeAction['kind']> = Extract<DecreeAction, { readonly kind: K }>;
/** What is told of a decree that was applied, besides its serial and kind. */
type Told = Readonly<Record<string, EventValue>>;

/** Signatures last: they cost the most, and what changes nothing needs none. Refused, it leaves nothing behind. */
export function applyDecree(step: DecreeStep, op: OpOf<'decree'>): Outcome {
  const { state } = step;
  const { serial, action } = op;
  const known = governanceOf(state) ?? { serial: 0, disabledKinds: [] };
  if (serial !== known.serial + 1) return refuse('E_DECREE', `decree ${known.serial + 1}`, serial);
  putGovernance(state, { ...known, serial });
  const told = applyAction(step, action);
  if (isRefusal(told)) return told;
  const refusal = checkSignatures(step, op);
  if (refusal !== undefined) return refusal;
  step.emit('decree', { serial, action: action.kind, ...told });
  return undefined;
}

/** Ed25519. */
export interface AskedSignature {
  readonly publicKey: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * The signatures on which it hangs whether `block` would apply these decrees, in their order; or why it would not, whatever is signed.
 * None is verified, and nothing is kept.
 */
export function signaturesOfDecrees(
  view: StateView,
  block: BlockHead,
  ctx: ExecutionContext,
  decrees: readonly OpOf<'decree'>[],
): readonly AskedSignature[] | Refusal {
  const asked: AskedSignature[] = [];
  const verifyEd25519 = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
    asked.push({ publicKey, message, signature });
    return true;
  };
  const believing = { ...ctx, crypto: { ...ctx.crypto, verifyEd25519 } };
  const step = { state: openState(view, false), ctx: believing, block, emit: () => undefined };
  for (const op of decrees) {
    const refusal = applyDecree(step, op);
    if (refusal !== undefined) return refusal;
  }
  return asked;
}

function isRefusal(outcome: Told | Refusal): outcome is Refusal {
  return 'code' in outcome && 'info' in outcome;
}

function applyAction(step: DecreeStep, action: DecreeAction): Told | Refusal {
  switch (action.kind) {
    case 'disable-proof-kind':
    case 'enable-proof-kind':
      return switchProofKind(step, action);
    case 'propose-measurement':
      return proposeMeasurement(step, action);
    case 'deprecate-measurement':
      return deprecateMeasurement(step, action);
    case 'revoke-measurement':
      return revokeMeasurement(step, action);
    case 'revoke-certificate':
      return revokeCertificate(step, action);
    case 'set-tcb-floor':
      return setTcbFloor(step, action);
    case 'set-tcb-statuses':
      return setTcbStatuses(step, action);
    case 'register-hardware':
      return changeHardware(step, action, action.hardware, (row) =>
        row.provider === action.provider ? null : { ...row, provider: action.provider },
      );
    case 'unregister-hardware':
      return changeHardware(step, action, action.hardware, ({ provider, ...row }) =>
        provider === undefined ? null : row,
      );
    case 'revoke-hardware':
      return changeHardware(step, action, action.hardware, (row) =>
        row.revokedAt === undefined ? { ...row, revokedAt: step.block.height } : null,
      );
  }
}

function switchProofKind(
  { state }: DecreeStep,
  { kind, proofKind }: ActionOf<'disable-proof-kind' | 'enable-proof-kind'>,
): Told | Refusal {
  const isDisabled = kind === 'disable-proof-kind';
  if (isKindDisabled(state, proofKind) === isDisabled) {
    return refuse('E_DECREE', 'a change', `${proofKind} is ${isDisabled ? 'disabled' : 'enabled'} already`);
  }
  const known = governanceOf(state);
  const others = (known?.disabledKinds ?? []).filter((other) => other !== proofKind);
  const disabledKinds = isDisabled ? [...others, proofKind] : others;
  putGovernance(state, { serial: known?.serial ?? 0, disabledKinds });
  return { proofKind };
}

/** Slow to open: nobody can use it before the delay is over, unless nearly all of the power says so. */
function proposeMeasurement(
  { state, block, ctx }: DecreeStep,
  { measurement, release, isEmergency }: ActionOf<'propose-measurement'>,
): Told | Refusal {
  const { height } = block;
  const names = measurement.registers.map(({ register }) => register);
  // One thing has one id.
  if (names.some((name, i) => i > 0 && (names[i - 1] as string) >= name)) {
    return refuse('E_DECREE', 'registers ascending by name', names.join());
  }
  const measurementId = measurementIdOf(measurement);
  if (measurements.get(state, measurementId) !== undefined) {
    return refuse('E_DECREE', 'a measurement that is new', 'one that was proposed before');
  }
  const index = liveIndex(state, height);
  if (index.length >= LIVE_MEASUREMENTS_MAX) {
    return refuse('E_DECREE', `fewer than ${LIVE_MEASUREMENTS_MAX} live measurements`, index.length);
  }
  putMeasurementIndex(state, index);
  const activeFrom = isEmergency ? height : height + ctx.config.params.measurementDelay;
  addMeasurement(state, { measurement, release, proposedAt: height, activeFrom });
  return { measurementId, name: measurement.name, evidenceKind: measurement.kind, activeFrom, isEmergency };
}

/** A height that has not come yet may be moved; one that has is final. */
function deprecateMeasurement(
  { state, block }: DecreeStep,
  { measurementId, height }: ActionOf<'deprecate-measurement'>,
): Told | Refusal {
  const record = liveMeasurement(state, measurementId, block.height);
  if ('code' in record) return record;
  if (height < block.height || record.deprecatedAt === height) {
    return refuse('E_DECREE', `another height, of ${block.height} or above`, height);
  }
  measurements.put(state, { ...record, deprecatedAt: height }, measurementId);
  return { measurementId, height };
}

/** Fast to close. */
function revokeMeasurement(
  { state, block }: DecreeStep,
  { measurementId }: ActionOf<'revoke-measurement'>,
): Told | Refusal {
  const record = measurements.get(state, measurementId);
  if (record === undefined) return refuse('E_MEASUREMENT', 'a measurement', 'none');
  if (record.revokedAt !== undefined) return refuse('E_DECREE', 'a change', 'it is revoked already');
  measurements.put(state, { ...record, revokedAt: block.height }, measurementId);
  const index = measurementIndexOf(state).filter((entry) => !bytesEqual(entry.measurementId, measurementId));
  putMeasurementIndex(state, index);
  return { measurementId };
}

function liveMeasurement(
  state: DecreeStep['state'],
  id: Uint8Array,
  height: number,
): MeasurementRecord | Refusal {
  const record = measurements.get(state, id);
  if (record === undefined) return refuse('E_MEASUREMENT', 'a measurement', 'none');
  const phase = measurementPhase(record, height);
  return phase === 'deprecated' || phase === 'revoked'
    ? refuse('E_DECREE', 'a measurement that is proposed or active', phase)
    : record;
}

function revokeCertificate(step: DecreeStep, action: ActionOf<'revoke-certificate'>): Told | Refusal {
  const { issuer, serial } = action.certificate;
  // AMD gives it to all its endorsement keys, so it names none of them, and the verifier matches it with nothing.
  if (serial.every((byte) => byte === 0)) {
    return refuse(
      'E_DECREE',
      'a serial number that names one certificate',
      '0: revoke-hardware takes a chip by its id',
    );
  }
  const revoked = revokedCertificatesOf(step.state);
  if (revoked.some((each) => bytesEqual(each.issuer, issuer) && bytesEqual(each.serial, serial))) {
    return refuse('E_DECREE', 'a change', 'it is revoked already');
  }
  if (revoked.length >= REVOKED_CERTIFICATES_MAX) {
    return refuse('E_DECREE', `fewer than ${REVOKED_CERTIFICATES_MAX} certificates`, revoked.length);
  }
  putRevokedCertificates(step.state, [...revoked, action.certificate]);
  changePolicy(step, action);
  return { issuer, certificateSerial: serial };
}

function setTcbFloor(step: DecreeStep, action: ActionOf<'set-tcb-floor'>): Told | Refusal {
  const { product, floor } = action;
  if (floor !== null && (floor.fmc === null) === (product === 'turin')) {
    return refuse('E_DECREE', 'an FMC version for turin and for no other', product);
  }
  const { tcbFloors } = evidencePolicyOf(step.state);
  const others = tcbFloors.filter((each) => each.product !== product);
  const known = tcbFloors.find((each) => each.product === product)?.floor ?? null;
  if (floorText(known) === floorText(floor)) return refuse('E_DECREE', 'a change', 'the floor it has');
  const next = floor === null ? others : [...others, { product, floor }];
  changePolicy(step, action, { tcbFloors: inOrder(next, SNP_PRODUCTS, (each) => each.product) });
  return { product };
}

function floorText(floor: SnpTcbFloor | null): string {
  if (floor === null) return 'none';
  const { bootloader, tee, snp, microcode, fmc } = floor;
  return [bootloader, tee, snp, microcode, fmc].join();
}

function setTcbStatuses(step: DecreeStep, action: ActionOf<'set-tcb-statuses'>): Told | Refusal {
  const { evidenceKind } = action;
  const statuses = inOrder(action.statuses, TCB_STATUSES, (status) => status);
  if (new Set(statuses).size < statuses.length || statuses.join() !== action.statuses.join()) {
    return refuse('E_DECREE', 'each status once, in their order', action.statuses.join());
  }
  const { tcbStatuses } = evidencePolicyOf(step.state);
  const known = tcbStatuses.find((each) => each.evidenceKind === evidenceKind);
  if (known?.statuses.join() === statuses.join())
    return refuse('E_DECREE', 'a change', 'the statuses it has');
  const others = tcbStatuses.filter((each) => each.evidenceKind !== evidenceKind);
  changePolicy(step, action, {
    tcbStatuses: inOrder(
      [...others, { evidenceKind, statuses }],
      TCB_STATUS_KINDS,
      (each) => each.evidenceKind,
    ),
  });
  return { evidenceKind, statuses: statuses.join() };
}

function inOrder<T, N>(list: readonly T[], names: readonly N[], nameOf: (of: T) => N): readonly T[] {
  return [...list].sort((a, b) => names.indexOf(nameOf(a)) - names.indexOf(nameOf(b)));
}

function changePolicy(
  { state }: DecreeStep,
  action: DecreeAction,
  members: Parameters<typeof changeEvidencePolicy>[2] = {},
): void {
  const change = domainHash('haca/decree-change/1', encode(decreeActionCodec, action));
  changeEvidencePolicy(state, change, members);
}

/** `change` gives the new row, or null where it would be the old one. A row that says nothing is none. */
function changeHardware(
  { state }: DecreeStep,
  { kind }: DecreeAction,
  hardware: Hardware,
  change: (row: HardwareRecord) => HardwareRecord | null,
): Told | Refusal {
  const id = hardwareIdOf(hardware, false);
  const next = change(hardwares.get(state, id) ?? { hardware, simulated: false });
  if (next === null) return refuse('E_DECREE', 'a change', `${kind} was done already`);
  const { holder, provider, revokedAt } = next;
  if (holder === undefined && provider === undefined && revokedAt === undefined) hardwares.remove(state, id);
  else hardwares.put(state, next, id);
  return { hardwareId: id, vendor: hardware.vendor, chip: hardware.id, provider };
}

/** Each signer once, each with power, and together more than two thirds of all power there is, or five sixths. */
function checkSignatures(step: DecreeStep, { serial, action, signatures }: OpOf<'decree'>): Outcome {
  const { state, ctx } = step;
  const message = decreeMessage({ chainId: ctx.config.chainId, serial, action });
  let signed = 0;
  let previous: Uint8Array | undefined;
  for (const { validator: address, signature } of signatures) {
    if (previous !== undefined && compareBytes(previous, address) >= 0) {
      return refuse('E_DECREE', 'signatures in ascending order of validators', 'another order');
    }
    previous = address;
    const validator = validators.get(state, address);
    // Who signed twice may have to keep the chain going for a while; it decides nothing for it.
    if (validator === undefined || validator.power === 0 || validator.tombstoned === true)
      return refuse('E_VALIDATOR', 'a validator with power', 'another');
    if (!ctx.crypto.verifyEd25519(validator.consensusKey, message, signature)) {
      return refuse('E_SIG', "the validator's signature over the decree", 'another');
    }
    signed += validator.power;
  }
  const all = validatorSetOf(state).members.reduce(
    (sum, { address }) => sum + (validators.get(state, address)?.power ?? 0),
    0,
  );
  const isEmergency = action.kind === 'propose-measurement' && action.isEmergency;
  const isEnough = isEmergency ? 6 * signed > 5 * all : 3 * signed > 2 * all;
  const share = isEmergency ? 'five sixths' : 'two thirds';
  return isEnough ? undefined : refuse('E_DECREE', `more than ${share} of ${all} units of power`, signed);
}
