import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { rescoreIntel, TCB_STATUSES, type TcbStatus } from '../src/index.ts';
import { converge, relaunch } from '../src/tee/intel/tcb-status.ts';
import {
  appraiseMinted,
  type Level,
  levelJson,
  mint,
  mintedTrust,
  moduleIdentityJson,
  svnLevelJson,
  svns,
  WORLD,
  type World,
} from './intel-fixture.ts';
import { failures, OPEN_SGX, OPEN_TDX } from './intel-vectors.ts';

const SGX = svns(3, 3, 2, 2, 4, 1, 0, 5);
const statusOf = (world: Partial<World>): TcbStatus | undefined =>
  appraiseMinted(mint(world)).claims?.tcb?.status;
const tdxWorld = (levels: readonly Level[], changes: Partial<World> = {}): Partial<World> => ({
  ...changes,
  tcbInfo: { ...changes.tcbInfo, tcbLevels: levels.map(levelJson) },
});
const sgxWorld = (levels: readonly Level[], changes: Partial<World> = {}): Partial<World> => ({
  ...tdxWorld(levels, changes),
  kind: 'sgx',
  version: 3,
});
const sgxLevel = (sgx: readonly number[], pce: number, status: string): Level => ({ sgx, pce, status });
const level = (sgx: readonly number[], tdx: readonly number[], status: string, pce = 13): Level => ({
  sgx,
  pce,
  tdx,
  status,
});

test('INTEL-32 the highest level that no component is below', () => {
  assert.equal(
    statusOf(sgxWorld([sgxLevel(SGX, 13, 'UpToDate'), sgxLevel(svns(), 0, 'OutOfDate')])),
    'UpToDate',
  );
  assert.equal(
    statusOf(sgxWorld([sgxLevel(SGX, 14, 'UpToDate'), sgxLevel(SGX, 5, 'OutOfDate')])),
    'OutOfDate',
  );
  for (let i = 0; i < 16; i++) {
    const above = SGX.map((svn, at) => (at === i ? svn + 1 : svn));
    assert.equal(statusOf(sgxWorld([sgxLevel(above, 13, 'UpToDate')])), 'Unsupported', `component ${i}`);
    assert.equal(
      statusOf(sgxWorld([sgxLevel(above, 13, 'UpToDate'), sgxLevel(SGX, 13, 'SWHardeningNeeded')])),
      'SWHardeningNeeded',
    );
  }
  assert.equal(statusOf(sgxWorld([sgxLevel(SGX, 13, 'Revoked')])), 'Revoked');
});

test('INTEL-32 levels are sorted as Intel sorts them, whatever their order in the text', () => {
  const levels = [
    sgxLevel(SGX, 13, 'UpToDate'),
    sgxLevel(SGX, 12, 'ConfigurationNeeded'),
    sgxLevel(svns(3, 3, 2, 2), 13, 'SWHardeningNeeded'),
    sgxLevel(svns(), 0, 'OutOfDate'),
  ];
  for (const order of [
    levels,
    [...levels].reverse(),
    [levels[2], levels[0], levels[3], levels[1]] as Level[],
  ])
    assert.equal(statusOf(sgxWorld(order)), 'UpToDate');
  const tdx = [level(SGX, svns(5, 0, 3), 'UpToDate'), level(SGX, svns(5, 0, 2), 'OutOfDate')];
  assert.equal(statusOf(tdxWorld([...tdx].reverse())), 'UpToDate');
});

test('INTEL-32 a module with a version is left out of the TDX components, one without is not', () => {
  const levels = [level(SGX, svns(9, 9, 3), 'UpToDate')];
  assert.equal(statusOf(tdxWorld(levels)), 'UpToDate', 'components 0 and 1 belong to the module');
  const td = (...teeTcbSvn: readonly number[]) => ({
    td: { ...WORLD.td, teeTcbSvn: Uint8Array.from(svns(...teeTcbSvn)) },
  });
  assert.equal(statusOf(tdxWorld(levels, td(9, 0, 3))), 'Unsupported');
  assert.equal(statusOf(tdxWorld([level(SGX, svns(9, 0, 3), 'UpToDate')], td(9, 0, 3))), 'UpToDate');
  for (let i = 2; i < 16; i++) {
    const above = svns(0, 0, 3).map((svn, at) => (at === i ? svn + 1 : svn));
    assert.equal(statusOf(tdxWorld([level(SGX, above, 'UpToDate')])), 'Unsupported', `component ${i}`);
  }
});

const modules = (...levels: readonly (readonly [number, string])[]): Record<string, unknown> => ({
  tdxModuleIdentities: [
    moduleIdentityJson(
      'TDX_01',
      levels.map(([svn, status]) => ({ svn, status })),
    ),
  ],
});

test('INTEL-33 the module has the first level of its identity that fits, in the order given', () => {
  const module = (...levels: readonly (readonly [number, string])[]) =>
    appraiseMinted(mint({ tcbInfo: modules(...levels) })).claims?.tcb?.moduleStatus;
  assert.equal(module([6, 'UpToDate'], [4, 'OutOfDate']), 'UpToDate');
  assert.equal(module([7, 'UpToDate'], [4, 'OutOfDate']), 'OutOfDate');
  assert.equal(module([4, 'OutOfDate'], [6, 'UpToDate']), 'OutOfDate');
  assert.equal(module([7, 'UpToDate']), 'Unsupported');
  assert.equal(module([6, 'Revoked']), 'Revoked');
  for (const status of ['SWHardeningNeeded', 'ConfigurationNeeded', 'OutOfDateConfigurationNeeded'])
    assert.equal(module([6, status]), 'Unsupported', `${status} is no status of a module`);
});

test('INTEL-34 convergence by the table of the library', () => {
  const outOfDate: Readonly<Record<string, TcbStatus>> = {
    UpToDate: 'OutOfDate',
    SWHardeningNeeded: 'OutOfDate',
    ConfigurationNeeded: 'OutOfDateConfigurationNeeded',
    ConfigurationAndSWHardeningNeeded: 'OutOfDateConfigurationNeeded',
  };
  for (const status of TCB_STATUSES) {
    assert.equal(converge(status, 'UpToDate'), status);
    assert.equal(converge(status, 'ConfigurationNeeded'), status);
    assert.equal(converge(status, 'OutOfDate'), outOfDate[status] ?? status);
    assert.equal(converge(status, 'Unsupported'), 'Unsupported');
    assert.equal(converge(status, 'Revoked'), status === 'Unsupported' ? 'Unsupported' : 'Revoked');
  }
});

test('INTEL-34 platform, module and quoting enclave converge', () => {
  const world = (platform: string, module: string, qe: string): Partial<World> => ({
    tcbInfo: { ...modules([6, module]), tcbLevels: [levelJson(level(SGX, svns(5, 0, 3), platform))] },
    qeIdentity: { tcbLevels: [svnLevelJson({ svn: 4, status: qe })] },
  });
  const table: readonly (readonly [string, string, string, TcbStatus])[] = [
    ['UpToDate', 'UpToDate', 'UpToDate', 'UpToDate'],
    ['SWHardeningNeeded', 'UpToDate', 'UpToDate', 'SWHardeningNeeded'],
    ['UpToDate', 'OutOfDate', 'UpToDate', 'OutOfDate'],
    ['ConfigurationNeeded', 'OutOfDate', 'UpToDate', 'OutOfDateConfigurationNeeded'],
    ['ConfigurationNeeded', 'UpToDate', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['OutOfDate', 'UpToDate', 'OutOfDate', 'OutOfDate'],
    ['UpToDate', 'Revoked', 'UpToDate', 'Revoked'],
    ['UpToDate', 'UpToDate', 'Revoked', 'Revoked'],
    ['Revoked', 'UpToDate', 'UpToDate', 'Revoked'],
    ['Revoked', 'UpToDate', 'OutOfDate', 'Revoked'],
    ['UpToDate', 'OutOfDate', 'OutOfDate', 'OutOfDate'],
    ['ConfigurationNeeded', 'OutOfDate', 'OutOfDate', 'OutOfDateConfigurationNeeded'],
    ['UpToDate', 'UpToDate', 'ConfigurationNeeded', 'UpToDate'],
    ['SWHardeningNeeded', 'OutOfDate', 'ConfigurationNeeded', 'OutOfDate'],
    ['UpToDate', 'UpToDate', 'OutOfDateConfigurationNeeded', 'OutOfDate'],
    ['UpToDate', 'UpToDate', 'SWHardeningNeeded', 'Unsupported'],
    ['UpToDate', 'UpToDate', 'ConfigurationAndSWHardeningNeeded', 'Unsupported'],
  ];
  for (const [platform, module, qe, expected] of table) {
    const result = appraiseMinted(mint(world(platform, module, qe)));
    assert.equal(result.claims?.tcb?.status, expected, `${platform} ${module} ${qe}`);
    assert.equal(result.claims?.tcb?.currentStatus, null, 'TDX 1.0 does not say what runs now');
    assert.equal(result.verdict.ok, expected !== 'Revoked' && expected !== 'Unsupported');
  }
});

/** A TD 1.5 launched under module SVN 4 where 6 is the newest. */
const relaunched = (
  svn2: readonly number[],
  status = 'UpToDate',
  qe = 'UpToDate',
  more: Record<string, unknown> = {},
): Partial<World> => ({
  version: 5,
  td: { ...WORLD.td, teeTcbSvn: Uint8Array.from(svns(4, 1, 3)), teeTcbSvn2: Uint8Array.from(svns(...svn2)) },
  tcbInfo: {
    ...modules([6, 'UpToDate'], [4, 'OutOfDate']),
    tcbLevels: [levelJson(level(SGX, svns(5, 0, 3), status))],
    ...more,
  },
  qeIdentity: { tcbLevels: [svnLevelJson({ svn: 4, status: qe })] },
});

test('INTEL-34 what is revoked and what is unknown, in the order of the library', () => {
  const unknownQe = { qeIdentity: { tcbLevels: [svnLevelJson({ svn: 5, status: 'UpToDate' })] } };
  assert.equal(statusOf(tdxWorld([level(SGX, svns(), 'Revoked')], unknownQe)), 'Unsupported');
  assert.equal(statusOf(sgxWorld([sgxLevel(SGX, 13, 'Revoked')], unknownQe)), 'Unsupported');
  const revokedQe = { qeIdentity: { tcbLevels: [svnLevelJson({ svn: 4, status: 'Revoked' })] } };
  assert.equal(statusOf(tdxWorld([level(svns(9), svns(), 'UpToDate')], revokedQe)), 'Unsupported');
  assert.equal(statusOf({ tcbInfo: modules([7, 'UpToDate']), ...revokedQe }), 'Unsupported');
});

const OUT = ['OutOfDate', 'OutOfDateConfigurationNeeded'] as const;
const GOOD = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
] as const;

test('INTEL-35 launch and present by the table of the library, and never better than what runs', () => {
  const both = (launch: TcbStatus, current: TcbStatus, expected: TcbStatus): void =>
    assert.equal(relaunch(launch, current), expected, `${launch}, ${current}`);
  const asks = (status: TcbStatus): boolean => status.startsWith('Configuration') || status === OUT[1];
  for (const good of GOOD) {
    for (const other of GOOD) both(good, other, good);
    for (const out of OUT) {
      const isConfiguration = asks(good) || asks(out);
      both(out, good, isConfiguration ? 'RelaunchAdvisedConfigurationNeeded' : 'RelaunchAdvised');
      both(good, out, isConfiguration ? 'OutOfDateConfigurationNeeded' : 'OutOfDate');
    }
  }
  for (const out of OUT) for (const other of OUT) both(out, other, out);
  for (const status of [...GOOD, ...OUT, 'Revoked', 'Unsupported'] as const) {
    both(status, 'Unsupported', 'Unsupported');
    both('Unsupported', status, 'Unsupported');
    if (status === 'Unsupported') continue;
    both(status, 'Revoked', 'Revoked');
    both('Revoked', status, 'Revoked');
  }
});

test('INTEL-35 a TD that only has to be launched again is told apart', () => {
  assert.equal(statusOf(relaunched([6, 1, 3])), 'RelaunchAdvised');
  assert.equal(statusOf(relaunched([7, 1, 4])), 'RelaunchAdvised');
  assert.equal(statusOf(relaunched([6, 1, 3], 'SWHardeningNeeded')), 'RelaunchAdvised');
  assert.equal(statusOf(relaunched([6, 1, 3], 'ConfigurationNeeded')), 'RelaunchAdvisedConfigurationNeeded');
  assert.equal(statusOf(relaunched([5, 1, 3])), 'OutOfDate', 'not the newest module');
  assert.equal(statusOf(relaunched([5, 0, 3])), 'RelaunchAdvised', 'version 0: judged with the platform');
  assert.equal(statusOf(relaunched([6, 1, 3], 'UpToDate', 'ConfigurationNeeded')), 'RelaunchAdvised');
  assert.equal(statusOf(relaunched([6, 1, 3], 'UpToDate', 'OutOfDate')), 'OutOfDate');
  assert.equal(statusOf(relaunched([6, 1, 3], 'UpToDate', 'Revoked')), 'Revoked');
  assert.equal(statusOf(relaunched([6, 1, 3], 'UpToDate', 'SWHardeningNeeded')), 'Unsupported');
  assert.equal(
    statusOf(relaunched([6, 1, 3], 'OutOfDate')),
    'OutOfDate',
    'the platform itself is out of date',
  );
  const { td } = relaunched([6, 1, 3]);
  assert.ok(td !== undefined);
  assert.equal(
    statusOf({ ...relaunched([6, 1, 3]), version: 4, td: { ...td, teeTcbSvn2: null } }),
    'OutOfDate',
    'TDX 1.0',
  );
  const extended = { ...td, extension: new Uint8Array(237) };
  assert.equal(statusOf({ ...relaunched([6, 1, 3]), td: extended }), 'RelaunchAdvised', 'TDX 1.5ex');
});

test('INTEL-35 the platform level counts as the module does', () => {
  const tcbLevels = [
    level(SGX, svns(0, 0, 3), 'UpToDate'),
    level(SGX, svns(), 'OutOfDateConfigurationNeeded'),
  ];
  const world = (now: readonly number[]): Partial<World> => ({
    ...relaunched(now, 'UpToDate', 'UpToDate', { tcbLevels: tcbLevels.map(levelJson) }),
    td: {
      ...WORLD.td,
      teeTcbSvn: Uint8Array.from(svns(6, 1, 2)),
      teeTcbSvn2: Uint8Array.from(svns(...now)),
    },
  });
  assert.equal(statusOf(world([6, 1, 3])), 'RelaunchAdvisedConfigurationNeeded', 'microcode loaded since');
  assert.equal(statusOf(world([6, 1, 2])), 'OutOfDateConfigurationNeeded');
});

/** Launched under the newest module, and `now` runs. */
function launchedNew(now: readonly number[], more: Record<string, unknown> = {}): Partial<World> {
  const world = relaunched(now, 'UpToDate', 'UpToDate', more);
  return { ...world, td: { ...(world.td ?? WORLD.td), teeTcbSvn: Uint8Array.from(svns(6, 1, 3)) } };
}

test('INTEL-35 what runs now and nobody knows is unsupported, however the TD was launched', () => {
  assert.equal(statusOf(launchedNew([6, 1, 3])), 'UpToDate');
  const unknown: readonly (readonly [readonly number[], string])[] = [
    [[6, 2, 3], 'a module nobody knows'],
    [[3, 1, 3], 'a module below every level of its identity'],
    [[6, 1, 2], 'microcode below every level'],
    [[4, 0, 3], 'a module without a version below every level'],
    [[0, 0, 0], 'zeros'],
  ];
  for (const [now, why] of unknown) {
    for (const world of [launchedNew(now), relaunched(now)]) {
      const result = appraiseMinted(mint(world), { tdx: { tcbStatuses: 'allow-any' } });
      const { tcb } = result.claims ?? {};
      assert.deepEqual([tcb?.status, tcb?.currentStatus], ['Unsupported', 'Unsupported'], why);
      assert.deepEqual(failures(result), ['tdx.tcb.level:tcb.level', 'tdx.tcb.status:tcb.status'], why);
    }
  }
  assert.equal(
    statusOf(launchedNew([4, 1, 3], modules([6, 'UpToDate'], [4, 'ConfigurationNeeded']))),
    'Unsupported',
    'a status no module can have',
  );
});

test('INTEL-35 stricter than the library: what runs out of date or revoked is no better for its launch', () => {
  assert.equal(statusOf(launchedNew([4, 1, 3])), 'OutOfDate');
  assert.equal(statusOf(launchedNew([4, 1, 3], modules([6, 'UpToDate'], [4, 'Revoked']))), 'Revoked');
  const { tcb } = appraiseMinted(mint(launchedNew([4, 1, 3]))).claims ?? {};
  assert.deepEqual(
    [tcb?.platformStatus, tcb?.moduleStatus, tcb?.currentStatus],
    ['UpToDate', 'UpToDate', 'OutOfDate'],
  );
});

test('INTEL-37 each status is accepted by its name alone', () => {
  const minted = mint(relaunched([6, 1, 3]));
  const ok = (tcbStatuses: readonly TcbStatus[] | 'not-given' | 'allow-any') =>
    appraiseMinted(minted, { tdx: { tcbStatuses } }).verdict.ok;
  assert.deepEqual(
    [ok(['RelaunchAdvised']), ok(['UpToDate', 'OutOfDate']), ok([]), ok('not-given'), ok('allow-any')],
    [true, false, false, false, true],
  );
  for (const status of ['Revoked', 'Unsupported'] as const) {
    const hopeless = mint(
      status === 'Revoked'
        ? tdxWorld([level(SGX, svns(), 'Revoked')])
        : tdxWorld([level(svns(9), svns(), 'UpToDate')]),
    );
    for (const tcbStatuses of [[status], 'allow-any'] as const)
      assert.deepEqual(failures(appraiseMinted(hopeless, { tdx: { tcbStatuses } })), [
        'tdx.tcb.level:tcb.level',
        'tdx.tcb.status:tcb.status',
      ]);
  }
});

test('INTEL-26 INTEL-32 TCB information of version 2 judges SGX as version 3 does, and never TDX', () => {
  const numbered = (sgx: readonly number[]) =>
    Object.fromEntries(sgx.map((svn, i) => [`sgxtcbcomp${`${i + 1}`.padStart(2, '0')}svn`, svn]));
  const info = (sgx: readonly number[], status: string) => ({
    tcb: { ...numbered(sgx), pcesvn: 13 },
    tcbDate: '2026-01-01T00:00:00Z',
    tcbStatus: status,
  });
  const tcbInfo = {
    version: 2,
    id: undefined,
    tcbLevels: [info(svns(9), 'UpToDate'), info(SGX, 'SWHardeningNeeded')],
  };
  assert.equal(statusOf({ kind: 'sgx', version: 3, tcbInfo }), 'SWHardeningNeeded');
  const old = { ...tcbInfo, tdxModule: undefined, tdxModuleIdentities: undefined };
  assert.deepEqual(failures(appraiseMinted(mint({ tcbInfo: old }))), ['tdx.tcb-info.match:tcb-info.id']);
});

test('INTEL-30 without a QE identity the rest is judged, and nothing is accepted', () => {
  const minted = mint();
  const result = appraiseMinted(minted, { pieces: minted.pieces.slice(0, 3) });
  assert.deepEqual([result.verdict.ok, failures(result), result.claims?.tcb?.qeStatus], [false, [], null]);
});

const svn = fc.integer({ min: 0, max: 4 });
const levelStatus = fc.constantFrom(
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
);
const components = fc.array(svn, { minLength: 4, maxLength: 4 }).map((first) => svns(...first));
const worlds = fc.record({
  isTdx: fc.boolean(),
  pck: components,
  tee: components,
  tee2: fc.option(components),
  levels: fc.uniqueArray(
    fc.record({
      sgx: components,
      tdx: components,
      pce: fc.integer({ min: 12, max: 14 }),
      status: levelStatus,
    }),
    {
      minLength: 1,
      maxLength: 5,
      selector: ({ sgx, tdx, pce }) => `${sgx} ${tdx} ${pce}`,
    },
  ),
  modules: fc.array(fc.record({ svn, status: fc.constantFrom('UpToDate', 'OutOfDate', 'Revoked') }), {
    minLength: 1,
    maxLength: 3,
  }),
  qe: fc.array(
    fc.record({
      svn: fc.integer({ min: 2, max: 5 }),
      status: levelStatus,
    }),
    { minLength: 1, maxLength: 3 },
  ),
  pckRevoked: fc.boolean(),
});

test('INTEL-46 rescoring a platform gives what appraising its quote by the same collateral does', () => {
  const platform = (
    isTdx: boolean,
    pck: readonly number[],
    tee: readonly number[],
    tee2: readonly number[] | null,
  ): Partial<World> => ({
    kind: isTdx ? 'tdx' : 'sgx',
    version: isTdx ? 5 : 3,
    pck: { ...WORLD.pck, components: pck },
    td: {
      ...WORLD.td,
      teeTcbSvn: Uint8Array.from(tee),
      teeTcbSvn2: tee2 === null ? null : Uint8Array.from(tee2),
    },
  });
  fc.assert(
    fc.property(worlds, ({ isTdx, pck, tee, tee2, levels, modules: moduleLevels, qe, pckRevoked }) => {
      const base = platform(isTdx, pck, tee, tee2);
      const tdxInfo = isTdx
        ? {
            tdxModuleIdentities: [
              moduleIdentityJson('TDX_01', moduleLevels),
              moduleIdentityJson('TDX_02', moduleLevels),
            ],
          }
        : {};
      const tcbLevels = (isTdx ? levels : unique(levels)).map(({ tdx, ...rest }) =>
        levelJson(isTdx ? { tdx, ...rest } : rest),
      );
      const newer = mint({
        ...base,
        tcbInfo: { ...tdxInfo, tcbLevels },
        qeIdentity: { tcbLevels: qe.map(svnLevelJson) },
        pckCrl: { serials: pckRevoked ? [3] : [9] },
      });
      const facts = appraiseMinted(mint(base)).claims?.facts;
      assert.ok(facts !== undefined);
      const whole = appraiseMinted(newer);
      const again = rescoreIntel(facts, { ...mintedTrust(newer), policy: isTdx ? OPEN_TDX : OPEN_SGX });
      assert.deepEqual(again.tcb, whole.claims?.tcb);
      if (again.tcb?.currentStatus === 'Unsupported') assert.equal(again.tcb.status, 'Unsupported');
      assert.deepEqual(failures(again), failures(whole));
      assert.equal(again.verdict.ok, whole.verdict.ok);
    }),
    { numRuns: 150 },
  );
});

/** Levels that differ without their TDX components. */
function unique<T extends { readonly sgx: readonly number[]; readonly pce: number }>(
  levels: readonly T[],
): readonly T[] {
  return [...new Map(levels.map((each) => [`${each.sgx} ${each.pce}`, each])).values()];
}
