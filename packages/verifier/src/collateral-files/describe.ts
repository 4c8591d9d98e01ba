/** What pieces of collateral say of themselves, read by the parsers that verification uses. */
import { MalformedError, utf8Encode } from '@haca/primitives';
import { parseCrl } from '../der/crl.ts';
import { isJson, jsonMembers, jsonString } from '../file-forms/json-text.ts';
import { textOf } from '../file-forms/text-forms.ts';
import { parseQeIdentity } from '../tee/intel/qe-identity.ts';
import { parseTcbInfo } from '../tee/intel/tcb-info.ts';
import type { PieceFacts } from './library.ts';

export interface Description {
  readonly scope: Uint8Array | null;
  readonly facts: PieceFacts | null;
}

/** `body` is the signed object alone. */
export function describeTcbInfo(body: Uint8Array): Description {
  const facts = parsed(() => parseTcbInfo(body));
  const [id, fmspc] = [peek(body, 'id'), peek(body, 'fmspc')];
  const scope =
    id === null || fmspc === null ? null : utf8Encode(`${id}:${fmspc.toLowerCase()}`.toWellFormed());
  return { scope, facts: facts === null ? null : signedJsonFacts(facts) };
}

export function describeQeIdentity(body: Uint8Array): Description {
  const facts = parsed(() => parseQeIdentity(body));
  const id = peek(body, 'id');
  return {
    scope: id === null ? null : utf8Encode(id.toWellFormed()),
    facts: facts === null ? null : signedJsonFacts(facts),
  };
}

export function describeRevocationList(der: Uint8Array): Description {
  const list = parsed(() => parseCrl(der, 'crl'));
  if (list === null) return { scope: null, facts: null };
  const { issuer, thisUpdateMs, nextUpdateMs } = list;
  return { scope: issuer, facts: { issuedMs: thisUpdateMs, nextUpdateMs, version: 0 } };
}

interface SignedJsonTimes {
  readonly issueDateMs: number;
  readonly nextUpdateMs: number;
  readonly evaluationDataNumber: number;
}

function signedJsonFacts({ issueDateMs, nextUpdateMs, evaluationDataNumber }: SignedJsonTimes): PieceFacts {
  return { issuedMs: issueDateMs, nextUpdateMs, version: evaluationDataNumber };
}

/** A member's text, also where the rest of the object is of no form that is known. */
function peek(body: Uint8Array, member: string): string | null {
  const text = textOf(body);
  if (text === null || !isJson(text)) return null;
  const value = jsonMembers(text)?.get(member);
  return value === undefined ? null : jsonString(value);
}

function parsed<T>(parse: () => T): T | null {
  try {
    return parse();
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}
