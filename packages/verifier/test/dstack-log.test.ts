import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { concatBytes, encode, MalformedError, utf8Encode } from '@haca/primitives';
import {
  DSTACK_RUNTIME_EVENT_TYPE,
  type DstackEvent,
  dstackDocumentCodec,
  dstackEventOf,
} from '@haca/protocol';
import fc from 'fast-check';
import {
  type DstackRuntimeEvent,
  dstackEventDigest,
  parseDstackDocument,
  parseDstackJson,
} from '../src/index.ts';
import { applicationLogFault, imageLogFault, splitLog } from '../src/tee/dstack/boot-log.ts';
import { replayedRegisters } from '../src/tee/dstack/document.ts';
import { parseStrictJson } from '../src/tee/strict-json.ts';
import {
  appraiseDstackChanged,
  failures,
  genuineDstack,
  SIGNS_ANYTHING,
  vectorsMissing,
  vectorText,
  withEvents,
} from './wrapped-fixtures.ts';

const skip = vectorsMissing;
const EMPTY = new Uint8Array(0);

function runtime(name: string, payload: Uint8Array = EMPTY): DstackEvent {
  return { imr: 3, eventType: DSTACK_RUNTIME_EVENT_TYPE, digest: null, name, payload };
}

/** Position of the event in the genuine log. */
function indexOf(name: string): number {
  return genuineDstack().events.findIndex((event) => event.name === name);
}

function moved<T>(values: readonly T[], from: number, to: number): readonly T[] {
  const rest = values.toSpliced(from, 1);
  return rest.toSpliced(to, 0, values[from] as T);
}

function replaced(name: string, change: Partial<DstackEvent>): readonly DstackEvent[] {
  return genuineDstack().events.map((event) => (event.name === name ? { ...event, ...change } : event));
}

test('DSTACK-7 a log that is changed does not replay', { skip }, () => {
  const document = genuineDstack();
  const { events } = document;
  const composeHash = indexOf('compose-hash');
  const changes: readonly (readonly [string, readonly DstackEvent[]])[] = [
    ['an event left out', events.toSpliced(3, 1)],
    ['an event of RTMR3 left out', events.toSpliced(composeHash, 1)],
    ['the last event left out', events.slice(0, -1)],
    ['all left out', []],
    ['an event added', [...events, runtime('more')]],
    ['an event twice', events.toSpliced(3, 0, events[3] as DstackEvent)],
    ['two swapped in a register', moved(events, 0, 1)],
    ['two swapped in RTMR3', moved(events, composeHash, composeHash - 1)],
    ['an event moved to another register', events.with(0, { ...(events[0] as DstackEvent), imr: 1 })],
    ['another compose hash', replaced('compose-hash', { payload: new Uint8Array(32) })],
    ['another name', replaced('LIUM_MINER_HOTKEY', { name: 'lium' })],
    ['another way to its digest', replaced('LIUM_MINER_HOTKEY', { version: 2 })],
    ['another digest', events.with(0, { ...(events[0] as DstackEvent), digest: new Uint8Array(48) })],
  ];
  for (const [what, changed] of changes) {
    const appraisal = appraiseDstackChanged({ ...document, events: changed });
    assert.deepEqual(failures(appraisal), ['dstack.replay:dstack.replay'], what);
    assert.equal(appraisal.claims, null);
  }
});

test('DSTACK-7 the order between registers is not measured and makes no difference', { skip }, () => {
  const document = genuineDstack();
  const sorted = document.events.toSorted((a, b) => a.imr - b.imr);
  assert.notDeepEqual(sorted, document.events);
  const [given, other] = [document, { ...document, events: sorted }].map((each) =>
    appraiseDstackChanged(each),
  );
  assert.equal(other?.verdict.ok, true);
  assert.deepEqual(other?.claims?.claimsDigest, given?.claims?.claimsDigest);
});

/** What is refused though every signature holds and the log replays. */
const FORGERIES: readonly (readonly [
  what: string,
  change: (events: readonly DstackEvent[]) => readonly DstackEvent[],
  failure: string,
])[] = [
  ...['compose-hash', 'app-id', 'os-image-hash', 'mr-kms', 'rootfs-hash', 'key-provider', 'instance-id'].map(
    (name) =>
      [
        `${name} by the application`,
        (events: readonly DstackEvent[]) => [...events, runtime(name, new Uint8Array(32))],
        'dstack.application-log:dstack.event-late',
      ] as const,
  ),
  [
    'a second boot by the application',
    (events) => [...events, runtime('system-preparing')],
    'dstack.application-log:dstack.event-late',
  ],
  [
    'a second system-ready',
    (events) => [...events, runtime('system-ready')],
    'dstack.application-log:dstack.event-late',
  ],
  [
    'the old name of the compose hash by the application',
    (events) => [...events, runtime('upgraded-app-id', new Uint8Array(32))],
    'dstack.application-log:dstack.event-late',
  ],
  [
    'compose-hash by the digest of version 2',
    (events) => [...events, { ...runtime('compose-hash', new Uint8Array(32)), version: 2 }],
    'dstack.application-log:dstack.event-late',
  ],
  [
    'a name of the image that is new here, once more by the application',
    (events) => [
      ...events.toSpliced(indexOf('system-ready'), 0, runtime('gpu-ready')),
      runtime('gpu-ready', new Uint8Array(1)),
    ],
    'dstack.application-log:dstack.event-late',
  ],
  [
    'compose-hash twice in the boot',
    (events) => events.toSpliced(indexOf('compose-hash'), 0, runtime('compose-hash', new Uint8Array(32))),
    'dstack.image-log:dstack.event-twice',
  ],
  [
    'a compose hash after boot-mr-done',
    (events) => moved(events, indexOf('compose-hash'), indexOf('boot-mr-done')),
    'dstack.image-log:dstack.event-order',
  ],
  [
    'an application id after boot-mr-done',
    (events) => moved(events, indexOf('app-id'), indexOf('boot-mr-done')),
    'dstack.image-log:dstack.event-order',
  ],
  ...['app-id', 'compose-hash', 'instance-id', 'boot-mr-done', 'key-provider', 'system-ready'].map(
    (name) =>
      [
        `no ${name}`,
        (events: readonly DstackEvent[]) => events.toSpliced(indexOf(name), 1),
        'dstack.image-log:dstack.event-missing',
      ] as const,
  ),
  [
    'a key provider named after system-ready only',
    (events) => moved(events, indexOf('key-provider'), indexOf('system-ready')),
    'dstack.image-log:dstack.event-missing',
  ],
  ...(
    [
      ['app-id', 19],
      ['app-id', 0],
      ['compose-hash', 33],
      ['instance-id', 1],
      ['boot-mr-done', 1],
      ['system-ready', 1],
      ['system-preparing', 1],
      ['key-provider', 0],
    ] as const
  ).map(
    ([name, length]) =>
      [
        `${name} of ${length} bytes`,
        () => replaced(name, { payload: new Uint8Array(length) }),
        'dstack.image-log:dstack.event-length',
      ] as const,
  ),
  [
    'an application id that the compose hash does not begin with',
    () => replaced('app-id', { payload: new Uint8Array(20) }),
    'dstack.app-id:dstack.app-id',
  ],
];

for (const [what, change, failure] of FORGERIES) {
  test(`DSTACK-8 DSTACK-9 DSTACK-10 DSTACK-13 refused: ${what}`, { skip }, () => {
    const document = genuineDstack();
    const forged = withEvents(document, change(document.events));
    const appraisal = appraiseDstackChanged(forged, { crypto: SIGNS_ANYTHING });
    assert.deepEqual(failures(appraisal), [failure]);
    if (!failure.startsWith('dstack.app-id')) assert.equal(appraisal.claims, null);
  });
}

test('DSTACK-8 DSTACK-11 what newer images add is accepted and becomes registers', { skip }, () => {
  const document = genuineDstack();
  const ready = indexOf('system-ready');
  const hash = new Uint8Array(32).fill(7);
  const more = [
    runtime('mr-kms', hash),
    runtime('os-image-hash', hash),
    runtime('storage-fs', utf8Encode('zfs')),
    runtime('gpu-ready', hash),
  ];
  const events = [
    ...document.events.toSpliced(ready, 0, ...more),
    runtime('application', hash),
    { ...runtime('application:2', hash), version: 2 },
    runtime('', hash),
    runtime('còmpose-hash', hash),
  ];
  const appraisal = appraiseDstackChanged(withEvents(document, events), { crypto: SIGNS_ANYTHING });
  assert.deepEqual(failures(appraisal), []);
  const { claims } = appraisal;
  assert.ok(claims !== null);
  assert.deepEqual([claims.osImageHash, claims.mrKms], [hash, hash]);
  for (const name of ['mr-kms', 'os-image-hash']) assert.deepEqual(claims.registers.get(name), hash);
  assert.deepEqual(claims.registers.get('storage-fs'), utf8Encode('zfs'));
  for (const name of ['gpu-ready', 'application', 'còmpose-hash'])
    assert.equal(claims.registers.has(name), false, name);
  assert.equal(claims.applicationEvents.length, 5);
});

test('DSTACK-9 DSTACK-11 an application without an instance id has no such register', { skip }, () => {
  const document = genuineDstack();
  const forged = withEvents(document, replaced('instance-id', { payload: EMPTY }));
  const { claims, verdict } = appraiseDstackChanged(forged, { crypto: SIGNS_ANYTHING });
  assert.equal(verdict.ok, true);
  assert.deepEqual(claims?.instanceId, EMPTY);
  assert.equal(claims?.registers.has('instance-id'), false);
});

test('DSTACK-15 another event makes other claims, another digest', { skip }, () => {
  const document = genuineDstack();
  const digests = [[], [runtime('a', Uint8Array.of(1))], [runtime('a', Uint8Array.of(2))]].map((more) => {
    const forged = withEvents(document, [...document.events, ...more]);
    return appraiseDstackChanged(forged, { crypto: SIGNS_ANYTHING }).claims?.claimsDigest;
  });
  assert.equal(new Set(digests.map((digest) => Buffer.from(digest as Uint8Array).toString('hex'))).size, 3);
});

const MALFORMED: readonly (readonly [what: string, event: DstackEvent, code: string])[] = [
  ['a boot event with a type', { ...bootEvent(), eventType: 4 }, 'dstack.boot-event'],
  ['a boot event with a name', { ...bootEvent(), name: 'a' }, 'dstack.boot-event'],
  ['a boot event with a payload', { ...bootEvent(), payload: Uint8Array.of(0) }, 'dstack.boot-event'],
  ['a boot event with a version', { ...bootEvent(), version: 2 }, 'dstack.boot-event'],
  ['a boot event without a digest', { ...bootEvent(), digest: null }, 'dstack.boot-event'],
  ['a runtime event in RTMR2', { ...runtime('app-id'), imr: 2 }, 'dstack.boot-event'],
  ['a boot event in RTMR3', { ...bootEvent(), imr: 3 }, 'dstack.runtime-event'],
  ['another type in RTMR3', { ...runtime('a'), eventType: 4 }, 'dstack.runtime-event'],
  ['a digest in RTMR3', { ...runtime('a'), digest: new Uint8Array(48) }, 'dstack.runtime-event'],
  ['version 1 in words', { ...runtime('a'), version: 1 }, 'dstack.runtime-event'],
  ['version 0', { ...runtime('a'), version: 0 }, 'dstack.runtime-event'],
  ['a colon in a name', runtime('a:b', utf8Encode('c')), 'dstack.event-name'],
];

function bootEvent(): DstackEvent {
  return { imr: 0, eventType: 0, digest: new Uint8Array(48), name: '', payload: EMPTY };
}

for (const [what, event, code] of MALFORMED) {
  test(`DSTACK-4 DSTACK-5 DSTACK-6 malformed: ${what}`, () => {
    const bytes = encode(dstackDocumentCodec, { quote: Uint8Array.of(0), events: [event] });
    assert.throws(() => parseDstackDocument(bytes), { code });
  });
}

test('DSTACK-6 two events of one digest of version 1 have one form', () => {
  const [a, b] = [runtime('a:b', utf8Encode('c')), runtime('a', utf8Encode('b:c'))].map(dstackEventOf) as [
    DstackEvent,
    DstackEvent,
  ];
  assert.deepEqual(a, b);
  assert.equal(b.name, 'a');
  const version2 = { ...runtime('a:b', utf8Encode('c')), version: 2 };
  assert.deepEqual(dstackEventOf(version2), version2);
});

test('DSTACK-5 digests are those of other implementations', () => {
  const digest = (event: DstackRuntimeEvent): string =>
    Buffer.from(dstackEventDigest(event, nodeCrypto)).toString('hex');
  const sha384 = (...parts: readonly (string | Uint8Array)[]): string =>
    parts.reduce((hash, part) => hash.update(part), createHash('sha384')).digest('hex');
  const payload = Uint8Array.of(0xde, 0xad, 0xbe, 0xef);
  assert.equal(
    digest({ name: 'app-id', payload, version: 1 }),
    sha384(Uint8Array.of(1, 0, 0, 8), ':', 'app-id', ':', payload),
  );
  const version2: readonly (readonly [string, string])[] = [
    ['compose-hash', '{"name":"compose-hash","payload":"deadbeef","type":134217729}'],
    ['é🦀', '{"name":"é🦀","payload":"deadbeef","type":134217729}'],
    ['a"b\\c\nd\u0001\u007f', '{"name":"a\\"b\\\\c\\nd\\u0001\u007f","payload":"deadbeef","type":134217729}'],
  ];
  for (const [name, json] of version2) assert.equal(digest({ name, payload, version: 2 }), sha384(json));
});

test('DSTACK-5 DSTACK-6 events that differ have digests that differ', () => {
  const event = fc.record({
    name: fc.string({ unit: fc.constantFrom('a', 'b', ':', '"', '\\', 'é'), maxLength: 4 }),
    payload: fc.uint8Array({ maxLength: 4 }),
    version: fc.constantFrom(1 as const, 2 as const),
  });
  const inForm = event.filter(({ name, version }) => version === 2 || !name.includes(':'));
  const text = (each: DstackRuntimeEvent): string =>
    JSON.stringify([each.version, each.name, [...each.payload]]);
  fc.assert(
    fc.property(inForm, inForm, (a, b) => {
      const isSame = Buffer.compare(dstackEventDigest(a, nodeCrypto), dstackEventDigest(b, nodeCrypto)) === 0;
      assert.equal(isSame, text(a) === text(b));
    }),
  );
});

test('DSTACK-7 registers fold digests from zero', () => {
  const digests = [1, 2].map((byte) => new Uint8Array(48).fill(byte)) as [Uint8Array, Uint8Array];
  const log = { quote: EMPTY, boot: [digests, [], []] as const, runtime: [] };
  const [first, second, , fourth] = replayedRegisters(log, nodeCrypto);
  const step = (register: Uint8Array, digest: Uint8Array): Uint8Array =>
    nodeCrypto.sha384(concatBytes(register, digest));
  assert.deepEqual(first, step(step(new Uint8Array(48), digests[0]), digests[1]));
  assert.deepEqual([second, fourth], [new Uint8Array(48), new Uint8Array(48)]);
});

test('DSTACK-8 an application never speaks for the image, whatever it extends', () => {
  const names = ['app-id', 'compose-hash', 'key-provider', 'system-ready', 'x', 'boot-mr-done', 'mr-kms'];
  const image: readonly DstackRuntimeEvent[] = [
    ['app-id', 20],
    ['compose-hash', 32],
    ['instance-id', 20],
    ['boot-mr-done', 0],
    ['key-provider', 3],
    ['system-ready', 0],
  ].map(([name, length]) => ({
    name: name as string,
    payload: new Uint8Array(length as number).fill(1),
    version: 1 as const,
  }));
  const added = fc.record({
    name: fc.constantFrom(...names),
    payload: fc.uint8Array({ maxLength: 40 }),
    version: fc.constantFrom(1 as const, 2 as const),
  });
  fc.assert(
    fc.property(fc.array(added, { maxLength: 4 }), (application) => {
      const split = splitLog([...image, ...application]);
      assert.deepEqual(split.image, image);
      assert.equal(imageLogFault(split.image), null);
      assert.equal(
        applicationLogFault(split) === null,
        application.every(({ name }) => name === 'x'),
      );
    }),
  );
});

test('DSTACK-17 the answer of a guest agent becomes one document', { skip }, () => {
  const text = vectorText('dstack', 'quote-report.json');
  const document = parseDstackJson(text);
  const json = JSON.parse(text) as Record<string, unknown>;
  const log = JSON.parse(json['event_log'] as string) as Record<string, unknown>[];
  const same = (change: Record<string, unknown>): void =>
    assert.deepEqual(parseDstackJson(JSON.stringify({ ...json, ...change }, null, 1)), document);
  same({});
  same({ event_log: log });
  same({ quote: Buffer.from(json['quote'] as string, 'hex').toString('base64') });
  same({ quote: undefined, intel_quote: json['quote'] });
  same({ quote: `0x${(json['quote'] as string).toUpperCase()}`, report_data: 'zz', vm_config: 7 });
  same({ event_log: log.map((event) => (event['imr'] === 3 ? { ...event, digest: '' } : event)) });
  same({ event_log: log.map((event) => ({ ...event, version: 1, preimage: 'ff' })) });
  assert.equal(encode(dstackDocumentCodec, document).length < text.length / 2, true);
});

const RUNTIME_JSON = {
  imr: 3,
  event_type: DSTACK_RUNTIME_EVENT_TYPE,
  digest: '',
  event: 'a',
  event_payload: '00',
};
const BOOT_JSON = { imr: 0, event_type: 4, digest: 'ab'.repeat(48), event: '', event_payload: '00' };

test('DSTACK-17 JSON that says two things, or none, is malformed', () => {
  const read = (event_log: unknown, quote: unknown = '00'): unknown =>
    parseDstackJson(JSON.stringify({ quote, event_log }));
  assert.deepEqual(read([RUNTIME_JSON, BOOT_JSON]), {
    quote: Uint8Array.of(0),
    events: [runtime('a', Uint8Array.of(0)), { ...bootEvent(), digest: new Uint8Array(48).fill(0xab) }],
  });
  assert.deepEqual(read([{ ...RUNTIME_JSON, version: 2, event: 'a:b' }]), {
    quote: Uint8Array.of(0),
    events: [{ ...runtime('a:b', Uint8Array.of(0)), version: 2 }],
  });
  const bad: readonly unknown[] = [
    [{ ...RUNTIME_JSON, version: 3 }],
    [{ ...RUNTIME_JSON, version: '2' }],
    [{ ...RUNTIME_JSON, event: 7 }],
    [{ ...RUNTIME_JSON, event_payload: '0' }],
    [{ ...RUNTIME_JSON, event_payload: undefined }],
    [{ ...RUNTIME_JSON, imr: -1 }],
    [{ ...RUNTIME_JSON, imr: 0.5 }],
    [{ ...RUNTIME_JSON, event_type: '134217729' }],
    [{ ...BOOT_JSON, digest: 'xy' }],
    [{ ...BOOT_JSON, digest: undefined }],
    [7],
    {},
    null,
    '[',
    '[]x',
  ];
  for (const log of bad) assert.throws(() => read(log), MalformedError, JSON.stringify(log));
  for (const quote of [7, null, 'xyz', '*', []]) assert.throws(() => read([], quote), MalformedError);
  for (const text of ['', '[]', '{"quote":"00"}', '{"quote":"00","quote":"01","event_log":[]}'])
    assert.throws(() => parseDstackJson(text), MalformedError, text);
  const twice = JSON.stringify(RUNTIME_JSON).replace('"event":"a"', '"event":"a","event":"b"');
  assert.throws(() => parseDstackJson(`{"quote":"00","event_log":[${twice}]}`), {
    code: 'json.duplicate-member',
  });
  assert.throws(() => parseDstackJson(' '.repeat(1024 * 1024 + 1)), { code: 'dstack.json' });
});

/** Objects as ECMAScript has them. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...value].map(([name, member]) => [name, plain(member)]));
}

test('DSTACK-17 AZURE-6 strict JSON is JSON, and no member is named twice', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => {
      assert.deepEqual(plain(parseStrictJson(text, '')), JSON.parse(text));
    }),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseStrictJson(text, '');
      } catch (error) {
        assert.ok(error instanceof MalformedError);
        return;
      }
      JSON.parse(text);
    }),
  );
  const bad = [
    ['{"a":1,"a":1}', 'json.duplicate-member'],
    ['{"a":1,"\\u0061":2}', 'json.duplicate-member'],
    ['{"__proto__":1,"__proto__":2}', 'json.duplicate-member'],
    ['[1]x', 'json.trailing'],
    ['', 'json.malformed'],
    ['[1,]', 'json.malformed'],
    ['{"a":1,}', 'json.malformed'],
    ['{a:1}', 'json.malformed'],
    ["['a']", 'json.malformed'],
    ['"\u0000"', 'json.malformed'],
    ['"\\x41"', 'json.malformed'],
    ['"a', 'json.malformed'],
    ['"\\ud800"', 'json.surrogate'],
    ['01', 'json.trailing'],
    ['+1', 'json.malformed'],
    ['1e999', 'json.number'],
    ['nul', 'json.malformed'],
    ['truee', 'json.trailing'],
    ['\ufeff{}', 'json.malformed'],
    ['\u00a0{}', 'json.malformed'],
    [`${'['.repeat(10)}${']'.repeat(10)}`, 'json.depth'],
    ['['.repeat(100_000), 'json.depth'],
  ] as const;
  for (const [text, code] of bad) assert.throws(() => parseStrictJson(text, ''), { code }, text.slice(0, 40));
  const long = 'x'.repeat(1_000_000);
  assert.equal(parseStrictJson(`"${long}"`, ''), long);
});

test('DSTACK-1 documents made of anything give a verdict', { skip }, () => {
  const { quote } = genuineDstack();
  const event = fc.record({
    imr: fc.constantFrom(0, 1, 2, 3),
    eventType: fc.constantFrom(0, 4, DSTACK_RUNTIME_EVENT_TYPE),
    digest: fc.option(fc.uint8Array({ minLength: 48, maxLength: 48 })),
    name: fc.string({ maxLength: 12 }).filter((name) => name.isWellFormed()),
    payload: fc.uint8Array({ maxLength: 12 }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 5 }), (events) => {
      assert.equal(appraiseDstackChanged({ quote, events }, { crypto: SIGNS_ANYTHING }).verdict.ok, false);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.equal(appraiseDstackChanged(bytes).verdict.ok, false);
    }),
  );
});
