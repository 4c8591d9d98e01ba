import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { concatBytes, encode, toHex, UsageError, utf8Encode } from '@haca/primitives';
import { type AzureDocument, azureDocumentCodec, type Measurement } from '@haca/protocol';
import {
  AMD_ARK_MILAN,
  type AzureClaims,
  appraiseAzure,
  appraiseEvidence,
  azureRegistrationPolicy,
  azureValidateChecks,
  azureVerifyChecks,
  INTEL_SGX_ROOT,
  parseAzureJson,
  rescoreEvidence,
  SNP_VERIFY_CHECKS,
} from '../src/index.ts';
import {
  appraiseAzureChanged,
  azureContext,
  BINDING,
  failures,
  genuineAzure,
  milanIssuers,
  NO_COLLATERAL,
  patched,
  recorded,
  vectorsMissing,
  vectorText,
  withStatus,
} from './wrapped-fixtures.ts';

const skip = vectorsMissing;
const HARDWARE = ['snp', 'tdx'] as const;

function genuineBytes(hardware: 'snp' | 'tdx'): Uint8Array {
  return encode(azureDocumentCodec, genuineAzure(hardware));
}

function genuineClaims(hardware: 'snp' | 'tdx'): AzureClaims {
  const { claims } = appraiseAzureChanged(genuineAzure(hardware));
  assert.ok(claims !== null);
  return claims;
}

/** On SEV-SNP no revocation list was recorded. */
const SKIPPED = { snp: (id: string) => /^snp\.(chain\.)?crl/.test(id), tdx: () => false };

for (const hardware of HARDWARE) {
  test(
    `AZURE-1 AZURE-9 AZURE-11 AZURE-12 AZURE-13 the recorded evidence on ${hardware} gives its outcome`,
    {
      skip,
    },
    () => {
      const expect = recorded('azure', `${hardware}-vtpm-2023`);
      const appraisal = appraiseAzureChanged(genuineAzure(hardware));
      assert.deepEqual(failures(appraisal), []);
      const skipped = withStatus(appraisal, 'skipped');
      assert.ok(skipped.every((check) => SKIPPED[hardware](check) && check.endsWith(':collateral.missing')));
      assert.equal(appraisal.verdict.ok, hardware === 'tdx');
      assert.equal(skipped.length > 0, hardware === 'snp');
      const { claims } = appraisal;
      assert.ok(claims !== null);
      assert.equal(claims.hardwareKind.toUpperCase(), expect['hcl_report_type']);
      assert.deepEqual(claims.extraData, utf8Encode(expect['tpm_quote_extra_data_utf8'] as string));
      assert.equal(claims.vmConfiguration.secureBoot, true);
      assert.deepEqual(claims.userData, new Uint8Array(64));
      assert.deepEqual([claims.isDebug, claims.isSimulated, claims.pcrs.size], [false, false, 24]);
      assert.equal(claims.registers.get('pcr4')?.length, 32);
      assert.deepEqual(claims.hardware, claims.inner.hardware);
      if (claims.inner.kind === 'tdx') {
        assert.equal(toHex(claims.inner.pck.fmspc), expect['fmspc']);
        assert.equal(toHex(claims.inner.tdAttributes), expect['td_attributes']);
        assert.deepEqual(claims.registers.get('measurement'), claims.inner.mrTd);
      } else {
        assert.equal(claims.inner.vmpl, expect['vmpl']);
        assert.equal(claims.inner.product, expect['vcek_chain']);
        assert.deepEqual(claims.registers.get('measurement'), claims.inner.measurement);
        assert.equal(claims.evidenceEndMs, Date.parse(expect['vcek_valid_to'] as string));
      }
    },
  );

  test(`AZURE-2 every check on ${hardware} is listed in order, whatever fails`, { skip }, () => {
    const ids = [...azureVerifyChecks(hardware), ...azureValidateChecks(hardware)];
    const document = genuineAzure(hardware);
    const broken = { ...document, tpmQuote: document.tpmQuote.subarray(1) };
    for (const each of [document, broken])
      assert.deepEqual(
        appraiseAzureChanged(each).verdict.checks.map(({ id }) => id),
        ids,
      );
    const { claims } = appraiseAzureChanged(broken);
    assert.equal(claims, null);
    for (const bytes of [new Uint8Array(0), genuineBytes(hardware).subarray(1)])
      assert.deepEqual(
        appraiseAzureChanged(bytes).verdict.checks.map(({ id }) => id),
        [...azureVerifyChecks(null), ...azureValidateChecks(null)],
      );
    for (const gone of ['measurement', 'report-data', 'vmpl'])
      assert.equal(azureValidateChecks(hardware).includes(`${hardware}.${gone}`), false);
  });

  test(
    `AZURE-1 AZURE-3 AZURE-4 AZURE-5 AZURE-8 no byte of the genuine document on ${hardware} can change`,
    {
      skip,
    },
    () => {
      const bytes = genuineBytes(hardware);
      const native = rememberSignatures(nodeCrypto, 1024);
      const portable = rememberSignatures(portableCrypto, 1024);
      const accepted: number[] = [];
      const codes = new Set<string>();
      for (let at = 0; at < bytes.length; at++) {
        const flipped = patched(bytes, at, Uint8Array.of((bytes[at] as number) ^ 1));
        const appraisal = appraiseAzureChanged(flipped, { crypto: native });
        if (failures(appraisal).length === 0) accepted.push(at);
        for (const failure of failures(appraisal)) codes.add(failure);
        if (at % 331 !== 0) continue;
        assert.deepEqual(failures(appraiseAzureChanged(flipped, { crypto: portable })), failures(appraisal));
      }
      assert.deepEqual(accepted, []);
      assert.ok(codes.size >= 12, [...codes].join(', '));
    },
  );

  test(`AZURE-3 truncations and extensions on ${hardware} are refused`, { skip }, () => {
    const bytes = genuineBytes(hardware);
    const crypto = rememberSignatures(nodeCrypto, 1024);
    for (let length = 0; length < bytes.length; length += 7)
      assert.notDeepEqual(failures(appraiseAzureChanged(bytes.subarray(0, length), { crypto })), []);
    const longer = concatBytes(bytes, Uint8Array.of(0));
    assert.deepEqual(failures(appraiseAzureChanged(longer)), ['azure.document:cbor.trailing-bytes']);
  });

  test(`AZURE-1 native and portable crypto agree on ${hardware}`, { skip }, () => {
    const [native, portable] = [nodeCrypto, portableCrypto].map((crypto) =>
      appraiseAzureChanged(genuineAzure(hardware), { crypto }),
    );
    assert.deepEqual(portable?.verdict, native?.verdict);
    assert.deepEqual(portable?.claims?.claimsDigest, native?.claims?.claimsDigest);
  });

  test(`AZURE-16 freshness on ${hardware} is the extra data's and nothing else's`, { skip }, () => {
    const appraise = (extraData: Uint8Array | 'not-given') =>
      appraiseAzureChanged(genuineAzure(hardware), { policy: { extraData } });
    assert.deepEqual(failures(appraise(utf8Encode('challenge'))), []);
    for (const wrong of ['', 'challenge\0', 'Challenge', 'challeng'])
      assert.deepEqual(failures(appraise(utf8Encode(wrong))), ['azure.extra-data:azure.extra-data']);
    assert.ok(withStatus(appraise('not-given'), 'skipped').includes('azure.extra-data:policy.not-given'));
    const bound = appraiseAzureChanged(genuineAzure(hardware), {
      policy: azureRegistrationPolicy(nodeCrypto, BINDING),
    });
    assert.deepEqual(failures(bound), ['azure.extra-data:azure.extra-data']);
    assert.equal((azureRegistrationPolicy(nodeCrypto, BINDING).extraData as Uint8Array).length, 64);
  });

  test(`AZURE-15 the whole tuple on ${hardware} is pinned or nothing matches`, { skip }, () => {
    const claims = genuineClaims(hardware);
    const WHOLE = ['measurement', 'pcr4', 'pcr8', 'pcr9', 'pcr11', 'pcr12'];
    const measurementOf = (names: readonly string[], wrong = ''): Measurement => ({
      kind: 'azure',
      name: 'release',
      registers: names.toSorted().map((register) => {
        const value = claims.registers.get(register) as Uint8Array;
        return { register, value: register === wrong ? value.map((byte) => byte ^ 1) : value };
      }),
    });
    const appraise = (measurement: Measurement) =>
      appraiseAzureChanged(genuineAzure(hardware), { policy: { measurements: [measurement] } });
    const more = hardware === 'tdx' ? ['mrtd', 'rtmr0', 'mrconfigid'] : ['host-data', 'id-key-digest'];
    for (const names of [WHOLE, [...WHOLE, 'pcr7', ...more]])
      assert.deepEqual(
        [failures(appraise(measurementOf(names))), appraise(measurementOf(names)).measurement],
        [[], 'release'],
      );
    for (const name of WHOLE) {
      const partial = measurementOf(WHOLE.filter((each) => each !== name));
      for (const measurement of [partial, measurementOf(WHOLE, name)])
        assert.deepEqual(failures(appraise(measurement)), ['azure.measurement:azure.measurement'], name);
    }
  });

  test(`AZURE-14 hardware that the policy is silent about is refused: ${hardware}`, { skip }, () => {
    const { tdx, snp, ...rest } = azureContext().policy;
    const other = hardware === 'tdx' ? { snp } : { tdx };
    const policy = { ...rest, ...other } as typeof rest;
    const context = { ...azureContext(), policy };
    const bytes = genuineBytes(hardware);
    assert.deepEqual(failures(appraiseAzure(bytes, context)), ['azure.hardware:azure.hardware']);
    assert.deepEqual(failures(appraiseAzure(bytes, { ...context, policy: rest })), [
      'azure.hardware:azure.hardware',
    ]);
    const { facts } = genuineClaims(hardware);
    const { policy: _policy, roots, ...trust } = azureContext();
    const refused = rescoreEvidence('azure', facts, { ...trust, azure: { roots, policy } });
    assert.equal(refused.verdict.ok, false);
  });

  test(`AZURE-19 no cloud is proved on ${hardware}`, { skip }, () => {
    const { cloud, inner } = genuineClaims(hardware);
    assert.deepEqual([cloud, inner.cloud], [null, null]);
  });

  test(
    `AZURE-20 AZURE-21 digest and facts on ${hardware} are those of what was authenticated`,
    { skip },
    () => {
      const claims = genuineClaims(hardware);
      assert.equal(claims.claimsDigest.length, 32);
      assert.notDeepEqual(claims.claimsDigest, claims.inner.claimsDigest);
      const { policy, roots, ...trust } = azureContext();
      const context = { ...trust, azure: { roots, policy } };
      const judged = rescoreEvidence('azure', claims.facts, context);
      assert.deepEqual(failures(judged), []);
      assert.equal(judged.verdict.ok, hardware === 'tdx');
      const untrusted = { ...trust, azure: { roots: [], policy } };
      assert.notDeepEqual(failures(rescoreEvidence('azure', claims.facts, untrusted)), []);
      assert.deepEqual(failures(rescoreEvidence('azure', Uint8Array.of(0), context)), [
        'azure.facts:cbor.type',
      ]);
      const confused = patched(claims.facts, 3, utf8Encode(hardware === 'tdx' ? 'snp' : 'tdx'));
      assert.notDeepEqual(failures(rescoreEvidence('azure', confused, context)), []);
    },
  );
}

test('AZURE-1 roots of one vendor do not vouch for the hardware of another', { skip }, () => {
  for (const [hardware, roots] of [
    ['snp', [INTEL_SGX_ROOT]],
    ['tdx', [AMD_ARK_MILAN]],
  ] as const) {
    const appraisal = appraiseAzureChanged(genuineAzure(hardware), { roots });
    assert.equal(appraisal.claims, null);
    assert.match(failures(appraisal).join(), new RegExp(`^${hardware}\\.chain\\.root:[a-z.-]+$`));
  }
});

test('AZURE-1 evidence on TDX without collateral is authentic and not judged', { skip }, () => {
  const appraisal = appraiseAzureChanged(genuineAzure('tdx'), { collateral: NO_COLLATERAL });
  assert.deepEqual(failures(appraisal), []);
  assert.equal(appraisal.verdict.ok, false);
  assert.ok(withStatus(appraisal, 'skipped').includes('tdx.tcb-info.signature:collateral.missing'));
});

test('AZURE-1 certificates that ended are said to have', { skip }, () => {
  const nowMs = Date.UTC(2031, 0, 1);
  const appraisal = appraiseAzureChanged(genuineAzure('snp'), { nowMs });
  assert.deepEqual(failures(appraisal), ['snp.chain.window:certificate.expired']);
  assert.ok(appraisal.claims !== null);
});

test('AZURE-17 AZURE-18 what the runtime data says is held to the policy', { skip }, () => {
  const appraise = (policy: Parameters<typeof appraiseAzureChanged>[1]) =>
    failures(appraiseAzureChanged(genuineAzure('tdx'), policy));
  const asRecorded = {
    userData: new Uint8Array(64),
    secureBoot: true,
    consoleEnabled: true,
    interactiveConsoleEnabled: null,
    tpmPersisted: false,
  };
  assert.deepEqual(appraise({ policy: asRecorded }), []);
  const wrong = [
    [{ userData: null }, 'azure.user-data'],
    [{ userData: new Uint8Array(32) }, 'azure.user-data'],
    [{ secureBoot: false }, 'azure.secure-boot'],
    [{ consoleEnabled: false }, 'azure.console'],
    [{ interactiveConsoleEnabled: false }, 'azure.interactive-console'],
    [{ tpmPersisted: true }, 'azure.tpm-persisted'],
    [{ tpmPersisted: null }, 'azure.tpm-persisted'],
  ] as const;
  for (const [change, id] of wrong)
    assert.deepEqual(appraise({ policy: { ...asRecorded, ...change } }), [`${id}:${id}`]);
  const onSnp = appraiseAzureChanged(genuineAzure('snp'), { policy: { tpmPersisted: false } });
  assert.deepEqual(failures(onSnp), ['azure.tpm-persisted:azure.tpm-persisted']);
  const notGiven = { userData: 'not-given', secureBoot: 'not-given', consoleEnabled: 'not-given' } as const;
  assert.deepEqual(
    withStatus(appraiseAzureChanged(genuineAzure('tdx'), { policy: notGiven }), 'skipped'),
    ['azure.user-data', 'azure.secure-boot', 'azure.console'].map((id) => `${id}:policy.not-given`),
  );
});

test('AZURE-3 what goes with the hardware is there, and nothing else is', { skip }, () => {
  const [snp, tdx] = [genuineAzure('snp'), genuineAzure('tdx')];
  const mixed: readonly AzureDocument[] = [
    { ...snp, tdQuote: tdx.tdQuote },
    { ...snp, certificates: [] },
    { ...tdx, tdQuote: null },
    { ...tdx, certificates: snp.certificates },
    { ...snp, certificates: [], tdQuote: tdx.tdQuote },
    { ...tdx, certificates: snp.certificates, tdQuote: null },
  ];
  for (const document of mixed)
    assert.deepEqual(failures(appraiseAzureChanged(document)), ['azure.hcl-report:azure.hardware']);
  const large = patched(new Uint8Array(24 * 1024 + 1), 0, genuineBytes('snp'));
  assert.deepEqual(failures(appraiseAzureChanged(large)), ['azure.size:azure.too-large']);
});

test('AZURE-1 parts of two machines do not make one', { skip }, () => {
  const [snp, tdx] = [genuineAzure('snp'), genuineAzure('tdx')];
  const { tpmQuote, tpmSignature, pcrs } = tdx;
  assert.deepEqual(failures(appraiseAzureChanged({ ...snp, tpmQuote, tpmSignature, pcrs })), [
    'azure.tpm-quote.signature:azure.tpm-quote.signature',
  ]);
  assert.deepEqual(failures(appraiseAzureChanged({ ...snp, pcrs })), [
    'azure.tpm-quote.pcrs:azure.pcr-digest',
  ]);
  assert.deepEqual(failures(appraiseAzureChanged({ ...snp, tpmSignature })), [
    'azure.tpm-quote.signature:azure.tpm-quote.signature',
  ]);
});

test('AZURE-1 the dispatcher appraises it, and refuses it where it is not accepted', { skip }, () => {
  const { policy, roots, ...trust } = azureContext();
  const bytes = genuineBytes('tdx');
  assert.equal(appraiseEvidence('azure', bytes, { ...trust, azure: { roots, policy } }).verdict.ok, true);
  assert.deepEqual(failures(appraiseEvidence('azure', bytes, trust)), [
    'evidence.kind:evidence.kind-not-accepted',
  ]);
  assert.throws(() => appraiseAzure(bytes, azureContext({ nowMs: 0.5 })), UsageError);
});

test('AZURE-22 evidence as attesters write it becomes a document', { skip }, () => {
  for (const hardware of HARDWARE) {
    const text = vectorText('azure', `${hardware}-vtpm-2023.json`);
    const document = genuineAzure(hardware);
    const { evidence } = JSON.parse(text) as { evidence: Record<string, unknown> };
    assert.deepEqual(parseAzureJson(JSON.stringify(evidence), milanIssuers()), document);
    const quote = evidence['tpm_quote'] as { signature: string; message: string; pcrs: string[] };
    const numbers = (bytes: Uint8Array): readonly number[] => [...bytes];
    const base64 = (field: string): Uint8Array =>
      new Uint8Array(Buffer.from(evidence[field] as string, 'base64url'));
    const [first, second] =
      hardware === 'snp' ? (['quote', 'report'] as const) : (['tpm_quote', 'hcl_report'] as const);
    const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(document.certificates[2] ?? [])
      .toString('base64')
      .replaceAll(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
    const older = {
      [first]: {
        signature: numbers(document.tpmSignature),
        message: numbers(document.tpmQuote),
        pcrs: quote.pcrs.map((pcr) => numbers(Buffer.from(pcr, 'hex'))),
      },
      [second]: numbers(base64('hcl_report')),
      ...(hardware === 'snp' ? { vcek: pem } : { td_quote: numbers(base64('td_quote')) }),
    };
    assert.deepEqual(parseAzureJson(JSON.stringify(older), milanIssuers()), document);
  }
  const bare = parseAzureJson(vectorText('azure', 'snp-vtpm-2023.json'));
  assert.equal(bare.certificates.length, 1);
  assert.ok(SNP_VERIFY_CHECKS.includes('snp.document'));
  assert.match(failures(appraiseAzureChanged(bare)).join(), /^snp\.document:/);
});
