/** Identities of quoting enclaves (version 2), the signed object as the Intel Provisioning Certification Service sends it. */
import {
  failAt,
  parseCanonicalJson,
  readHex,
  readObjects,
  readOneOf,
  readTime,
  readUint,
} from './canonical-json.ts';
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
  const identity = parseCanonicalJson(body, 'enclaveIdentity');
  const version = readUint(identity, 'version', 0xffff);
  if (version !== 2) failAt(identity, 'version', 'qe-identity.version', 'version 2', `${version}`);
  return {
    id: readOneOf(identity, 'id', ['QE', 'QVE', 'TD_QE']),
    issueDateMs: readTime(identity, 'issueDate'),
    nextUpdateMs: readTime(identity, 'nextUpdate'),
    evaluationDataNumber: readUint(identity, 'tcbEvaluationDataNumber', 0xffff_ffff),
    miscSelect: readHex(identity, 'miscselect', 4),
    miscSelectMask: readHex(identity, 'miscselectMask', 4),
    attributes: readHex(identity, 'attributes', 16),
    attributesMask: readHex(identity, 'attributesMask', 16),
    mrSigner: readHex(identity, 'mrsigner', 32),
    isvProdId: readUint(identity, 'isvprodid', 0xffff),
    levels: readObjects(identity, 'tcbLevels').map(readSvnLevel),
  };
}
