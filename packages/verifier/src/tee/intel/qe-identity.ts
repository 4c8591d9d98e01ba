/** Identities of quoting enclaves (version 2), the signed object as the Intel Provisioning Certification Service sends it. */
import { parseStrictJson } from './strict-json.ts';
import { readSvnLevel, type SvnLevel } from './tcb-info.ts';

export interface QeIdentity {
  readonly id: 'QE' | 'QVE' | 'TD_QE';
  readonly issueDateMs: number;
  readonly nextUpdateMs: number;
  readonly evaluationDataNumber: number;
  /** 4 bytes as in a report: the JSON has them in the same order. */
  readonly miscSelect: Uint8Array;
  readonly miscSelectMask: Uint8Array;
  /** 16 bytes. */
  readonly attributes: Uint8Array;
  readonly attributesMask: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  /** In the order given. */
  readonly levels: readonly SvnLevel[];
}

/** `body` is the signed object alone. Throws `MalformedError`. */
export function parseQeIdentity(body: Uint8Array): QeIdentity {
  const identity = parseStrictJson(body, 'enclaveIdentity');
  const version = identity.uint('version', 0xffff);
  if (version !== 2) identity.fail('qe-identity.version', 'version', 'version 2', `${version}`);
  return {
    id: identity.oneOf('id', 'QE', 'QVE', 'TD_QE'),
    issueDateMs: identity.time('issueDate'),
    nextUpdateMs: identity.time('nextUpdate'),
    evaluationDataNumber: identity.uint('tcbEvaluationDataNumber', 0xffff_ffff),
    miscSelect: identity.hex('miscselect', 4),
    miscSelectMask: identity.hex('miscselectMask', 4),
    attributes: identity.hex('attributes', 16),
    attributesMask: identity.hex('attributesMask', 16),
    mrSigner: identity.hex('mrsigner', 32),
    isvProdId: identity.uint('isvprodid', 0xffff),
    levels: identity.objects('tcbLevels').map(readSvnLevel),
  };
}
