/**
 * What can be changed in genuine evidence without notice, over all kinds in one place: nothing. Here one byte in eight of one
 * document of each kind has its lowest bit changed; every byte of every recorded document is the kind's own test.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, rememberSignatures } from '@haca/platform';
import { type CryptoProvider, encode } from '@haca/primitives';
import { azureDocumentCodec, dstackDocumentCodec, type EvidenceKind, type Verdict } from '@haca/protocol';
import { APPRAISED_KINDS, appraiseAzure, appraiseDstack, appraiseNvidia, appraiseSnp } from '../src/index.ts';
import {
  appraiseVector,
  collateralOf,
  vectorsMissing as intelMissing,
  intelVector,
} from './intel-vectors.ts';
import {
  appraiseChanged as appraiseNitroChanged,
  vectorsMissing as nitroMissing,
  vector as nitroVector,
} from './nitro-vectors.ts';
import {
  encoded as nvidiaDocument,
  vectorsMissing as nvidiaMissing,
  vector as nvidiaVector,
  recordedContext,
} from './nvidia-vectors.ts';
import {
  contextAt as snpContextAt,
  documentOf as snpDocument,
  vectorsMissing as snpMissing,
  vector as snpVector,
} from './snp-vectors.ts';
import {
  azureContext,
  dstackContext,
  genuineAzure,
  genuineDstack,
  vectorsMissing as wrappedMissing,
} from './wrapped-fixtures.ts';

interface Outcome {
  readonly verdict: Verdict;
  readonly claims: { readonly claimsDigest: Uint8Array } | null;
}

interface Evidence {
  readonly kind: EvidenceKind;
  readonly name: string;
  readonly missing: string | false;
  readonly document: () => Uint8Array;
  /** Reads what it needs once, then appraises under a policy that waives every expectation. */
  readonly open: () => (document: Uint8Array, crypto: CryptoProvider) => Outcome;
}

function quote(kind: 'tdx' | 'sgx', id: string): Evidence {
  return {
    kind,
    name: id,
    missing: intelMissing,
    document: () => intelVector(id).quote,
    open: () => {
      const each = intelVector(id);
      const pieces = collateralOf(each);
      return (changed, crypto) => appraiseVector(each, { quote: changed, crypto, pieces });
    },
  };
}

function azure(hardware: 'tdx' | 'snp'): Evidence {
  return {
    kind: 'azure',
    name: `Azure on ${hardware}`,
    missing: wrappedMissing,
    document: () => encode(azureDocumentCodec, genuineAzure(hardware)),
    open: () => {
      const context = azureContext();
      return (changed, crypto) => appraiseAzure(changed, { ...context, crypto });
    },
  };
}

const EVIDENCE: readonly Evidence[] = [
  {
    kind: 'nitro',
    name: 'prod-2024-12',
    missing: nitroMissing,
    document: () => nitroVector('prod-2024-12').bytes,
    open: () => {
      const each = nitroVector('prod-2024-12');
      return (changed, crypto) => appraiseNitroChanged(each, changed, crypto);
    },
  },
  quote('tdx', 'v4-uptodate-2025-06'),
  quote('tdx', 'v5-uptodate-2026-02'),
  quote('sgx', 'v3-confsw-2025-06'),
  {
    kind: 'snp',
    name: 'milan-v2',
    missing: snpMissing,
    document: () => snpDocument(snpVector('milan-v2')),
    open: () => (changed, crypto) => appraiseSnp(changed, snpContextAt(undefined, crypto)),
  },
  {
    kind: 'nvidia',
    name: 'hopper-550',
    missing: nvidiaMissing,
    document: () => nvidiaDocument(nvidiaVector('hopper-550').document),
    open: () => (changed, crypto) => appraiseNvidia(changed, recordedContext(crypto)),
  },
  {
    kind: 'dstack',
    name: 'quote-report',
    missing: wrappedMissing,
    document: () => encode(dstackDocumentCodec, genuineDstack()),
    open: () => {
      const context = dstackContext();
      return (changed, crypto) => appraiseDstack(changed, { ...context, crypto });
    },
  },
  azure('tdx'),
  azure('snp'),
];

/** Places, in bytes, of changes that are accepted, by the name of the evidence. Each needs a reason here. */
const ACCEPTED_FLIPS: Readonly<Record<string, readonly number[]>> = {};

test('every kind that is appraised has genuine evidence here', () => {
  assert.deepEqual([...new Set(EVIDENCE.map(({ kind }) => kind))].sort(), [...APPRAISED_KINDS].sort());
});

for (const { name, kind, missing, document, open } of EVIDENCE) {
  test(`${kind}: no byte of ${name} can change without a failed check`, { skip: missing }, () => {
    const crypto = rememberSignatures(nodeCrypto, 1024);
    const appraise = open();
    const bytes = document();
    const refused = failures(appraise(bytes, crypto));
    const accepted: number[] = [];
    for (let at = 0; at < bytes.length; at += 8) {
      const changed = bytes.slice();
      changed[at] = (changed[at] as number) ^ 1;
      if (failures(appraise(changed, crypto)).length <= refused.length) accepted.push(at);
    }
    assert.deepEqual(refused, [], 'the document itself');
    assert.deepEqual(accepted, ACCEPTED_FLIPS[name] ?? []);
  });
}

function failures({ verdict }: Outcome): readonly string[] {
  return verdict.checks.filter(({ status }) => status === 'failed').map(({ id }) => id);
}
