/** Releases that evidence may show, as the chain has them. */
import { decode, fromHex, toHex } from '@haca/primitives';
import {
  type MeasurementRecord,
  measurementRecordCodec,
  recordKey,
  tablePrefix,
  toJsonView,
} from '@haca/protocol';
import { type Haca, listRecords, measurementPhase } from '@haca/sdk/node';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { findNetwork, NETWORK_FLAGS, openClient } from '../connection.ts';
import { printable } from '../report.ts';

export const measurementListCommand: Command = {
  name: 'measurement list',
  summary: `Lists the releases that evidence may show: proposed, active, deprecated, revoked. The list is the full node's word;
each row is proven.`,
  operands: '',
  flags: { kind: { value: 'KIND', help: 'only those for evidence of this kind' }, ...NETWORK_FLAGS },
  examples: ['haca measurement list', 'haca measurement list --kind tdx --json'],
  run: (call) => withClient(call, (haca) => runList(call, haca)),
};

export const measurementShowCommand: Command = {
  name: 'measurement show',
  summary: 'Shows a release with its registers, source commit and build recipe, proven by the light client.',
  operands: 'ID|NAME',
  flags: { ...NETWORK_FLAGS },
  examples: ['haca measurement show 9c…(64 hex digits)', 'haca measurement show inference-node-1.4 --json'],
  run: (call) => withClient(call, (haca) => runShow(call, haca)),
};

async function withClient(call: Call, work: (haca: Haca) => Promise<number>): Promise<number> {
  const haca = await openClient(call, await findNetwork(call), null);
  try {
    return await work(haca);
  } finally {
    haca.close();
  }
}

interface Entry {
  readonly id: Uint8Array;
  readonly record: MeasurementRecord;
}

async function measurementsOf(haca: Haca): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  for (const [key] of await listRecords(haca.chain.rpc, tablePrefix('measurement'))) {
    const { value } = await haca.chain.record(key);
    if (value !== null)
      entries.push({ id: key.slice(1), record: decode(measurementRecordCodec, value, 'measurement') });
  }
  return entries;
}

async function runList(call: Call, haca: Haca): Promise<number> {
  const kind = call.text('kind');
  const { height } = haca.chain.head();
  const entries = (await measurementsOf(haca)).filter(
    ({ record }) => kind === undefined || record.measurement.kind === kind,
  );
  if (call.json) {
    call.out(
      JSON.stringify({ height, measurements: entries.map((entry) => viewOf(entry, height)) }, null, 2),
    );
    return 0;
  }
  if (entries.length === 0) call.out('the chain approves no release');
  for (const { id, record } of entries) {
    const { kind: of, name } = record.measurement;
    call.out(`${toHex(id)}  ${of}  ${phaseText(record, height)}  ${printable(name)}`);
  }
  return 0;
}

async function runShow(call: Call, haca: Haca): Promise<number> {
  const [wanted] = call.operands;
  if (wanted === undefined) throw new CommandLineError('which one? haca measurement show ID, or its NAME');
  const { height } = haca.chain.head();
  const found = await find(haca, wanted);
  if (found === undefined) {
    if (call.json) call.out(JSON.stringify({ found: false }));
    else call.out(`the chain knows no measurement ${printable(wanted)}`);
    return 1;
  }
  const view = viewOf(found, height);
  if (call.json) {
    call.out(JSON.stringify(view, null, 2));
    return 0;
  }
  call.out(
    `${view.measurementId}  ${view.kind}  ${phaseText(found.record, height)}  ${printable(view.name)}`,
  );
  for (const [register, value] of Object.entries(view.registers))
    call.out(`  ${printable(register).padEnd(14)} ${value}`);
  const { release } = found.record;
  if (release === null) call.out('  approved by genesis');
  else {
    call.out(`  source         ${printable(release.sourceCommit)}`);
    call.out(`  recipe         ${printable(release.recipe)}`);
    for (const rebuild of release.rebuilds) call.out(`  rebuilt        ${toHex(rebuild)}`);
  }
  return 0;
}

async function find(haca: Haca, wanted: string): Promise<Entry | undefined> {
  if (!/^[0-9a-fA-F]{64}$/.test(wanted)) {
    const named = (await measurementsOf(haca)).filter(({ record }) => record.measurement.name === wanted);
    if (named.length > 1) {
      const ids = named.map(({ id }) => toHex(id)).join('\n');
      throw new CommandLineError(`${named.length} measurements have this name; give the id of one:\n${ids}`);
    }
    return named[0];
  }
  const id = fromHex(wanted.toLowerCase());
  const { value } = await haca.chain.record(recordKey.measurement(id));
  return value === null ? undefined : { id, record: decode(measurementRecordCodec, value, 'measurement') };
}

function phaseText(record: MeasurementRecord, height: number): string {
  const phase = measurementPhase(record, height);
  const { activeFrom, deprecatedAt, revokedAt } = record;
  if (phase === 'proposed') return `proposed, active from ${activeFrom}`;
  if (phase === 'active') return deprecatedAt === undefined ? 'active' : `active until ${deprecatedAt}`;
  return `${phase} since ${phase === 'revoked' ? revokedAt : deprecatedAt}`;
}

function viewOf({ id, record }: Entry, height: number) {
  const { measurement, release, proposedAt, activeFrom, deprecatedAt, revokedAt } = record;
  return {
    measurementId: toHex(id),
    kind: measurement.kind,
    name: measurement.name,
    phase: measurementPhase(record, height),
    registers: Object.fromEntries(
      measurement.registers.map(({ register, value }) => [register, toHex(value)]),
    ),
    release: toJsonView(release),
    proposedAt,
    activeFrom,
    ...(deprecatedAt === undefined ? {} : { deprecatedAt }),
    ...(revokedAt === undefined ? {} : { revokedAt }),
  };
}
