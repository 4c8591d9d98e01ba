/** Sends the requests of a measurement, from a process of its own. Its parent says which, one measurement at a time. */
import { Pool } from 'undici';
import type { ProcessUsage } from './report-usage.ts';
import { type Lane, openVoucherBook, type PaymentSetup, type VoucherBook } from './voucher-book.ts';
import { PATH, requestBody, STREAM_DELTAS } from './workload.ts';

export interface TargetSetup {
  readonly name: string;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Requests to it carry vouchers. */
  readonly isPaid: boolean;
}

export type Command =
  | {
      readonly kind: 'open';
      readonly targets: readonly TargetSetup[];
      readonly payment: PaymentSetup;
    }
  /** One request after another, the targets in turn. */
  | { readonly kind: 'latency'; readonly count: number }
  /** Vouchers for so many requests of this kind are ready when it answers. */
  | { readonly kind: 'prepare'; readonly stream: boolean; readonly count: number }
  | {
      readonly kind: 'throughput';
      readonly target: string;
      readonly concurrency: number;
      readonly count: number;
    }
  | {
      readonly kind: 'streams';
      readonly target: string;
      readonly concurrency: number;
      readonly count: number;
    }
  | { readonly kind: 'check' };

export interface Answers {
  readonly open: { readonly bodyBytes: number };
  /** Milliseconds of each request, by target. */
  readonly latency: Readonly<Record<string, readonly number[]>>;
  readonly prepare: { readonly count: number };
  readonly throughput: { readonly seconds: number };
  /** From the moment a delta was sent to the moment it arrived, ms. */
  readonly streams: {
    readonly seconds: number;
    readonly chunks: number;
    readonly delaysMs: readonly number[];
  };
  /** Lanes whose last receipt was checked. */
  readonly check: { readonly lanes: number };
}

interface Target extends TargetSetup {
  readonly pool: Pool;
}

const bodies = { whole: requestBody(false), stream: requestBody(true) };
const targets = new Map<string, Target>();
let book: VoucherBook | undefined;
let freeLanes: Lane[] = [];

function vouchers(): VoucherBook {
  if (book === undefined) throw new Error('not opened');
  return book;
}

function targetNamed(name: string): Target {
  const target = targets.get(name);
  if (target === undefined) throw new Error(`no target ${name}`);
  return target;
}

function open(setups: readonly TargetSetup[], payment: PaymentSetup): Answers['open'] {
  for (const setup of setups) {
    const pool = new Pool(setup.origin, {
      connections: 128,
      pipelining: 1,
      headersTimeout: 30_000,
      bodyTimeout: 30_000,
    });
    targets.set(setup.name, { ...setup, pool });
  }
  book = openVoucherBook(payment);
  freeLanes = [...book.lanes];
  return { bodyBytes: bodies.whole.length };
}

/** The lane that waits longest, of those that still have vouchers. */
function takeLane(): Lane | undefined {
  const at = freeLanes.findIndex(({ vouchers: left }) => left.length > 0);
  return at < 0 ? undefined : freeLanes.splice(at, 1)[0];
}

/** Room for the comment that carries the receipt. */
const STREAM_END_CHARS = 4_096;

/** Resolves when the last byte is there; any status but 200 fails the whole measurement. */
async function send(target: Target, isStream: boolean, onData: (chunk: Buffer) => void): Promise<void> {
  const lane = target.isPaid ? takeLane() : undefined;
  if (target.isPaid && lane === undefined) throw new Error('no free lane has a voucher left');
  const headers =
    lane === undefined ? target.headers : { ...target.headers, 'x-haca-voucher': vouchers().take(lane) };
  const body = isStream ? bodies.stream : bodies.whole;
  let end = '';
  const take = (chunk: Buffer): void => {
    onData(chunk);
    if (isStream) end = `${end}${chunk.toString('latin1')}`.slice(-STREAM_END_CHARS);
  };
  const header = await exchange(target, headers, body, take);
  if (lane === undefined) return;
  lane.lastReceipt = isStream ? /: haca-receipt (\S+)\n\n$/.exec(end)?.[1] : header;
  freeLanes.push(lane);
}

/** The receipt header of the answer, if it has one. */
function exchange(
  target: Target,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
  onData: (chunk: Buffer) => void,
): Promise<string | undefined> {
  return new Promise((settle, fail) => {
    let status = 0;
    let receipt: string | undefined;
    let refusal = '';
    target.pool.dispatch(
      { path: PATH, method: 'POST', headers, body },
      {
        onRequestStart: ignore,
        onResponseStart: (_, code, answered) => {
          status = code;
          const value = answered['x-haca-receipt'];
          if (typeof value === 'string') receipt = value;
        },
        onResponseData: (_, chunk) => {
          if (status === 200) onData(chunk);
          else refusal += chunk.toString();
        },
        onResponseEnd: () => {
          if (status === 200) settle(receipt);
          else fail(new Error(`${target.name} answered ${status}: ${refusal.slice(0, 300)}`));
        },
        onResponseError: (_, error) => fail(error),
      },
    );
  });
}

const ignore = (): void => undefined;

async function latency(count: number): Promise<Answers['latency']> {
  const samples = new Map([...targets.keys()].map((name) => [name, [] as number[]]));
  for (let i = 0; i < count; i++) {
    for (const target of targets.values()) {
      const startedAt = performance.now();
      await send(target, false, ignore);
      samples.get(target.name)?.push(performance.now() - startedAt);
    }
  }
  return Object.fromEntries(samples);
}

/** Keeps `concurrency` requests under way until `count` were answered. */
async function inParallel(concurrency: number, count: number, one: () => Promise<void>): Promise<number> {
  let started = 0;
  const work = async (): Promise<void> => {
    while (started < count) {
      started++;
      await one();
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: concurrency }, work));
  return (performance.now() - startedAt) / 1000;
}

async function streams(name: string, concurrency: number, count: number): Promise<Answers['streams']> {
  const target = targetNamed(name);
  const delaysMs: number[] = [];
  const seconds = await inParallel(concurrency, count, async () => {
    let seen = 0;
    await send(target, true, (chunk) => {
      const now = process.hrtime.bigint();
      for (const [, sentAt] of chunk.toString('latin1').matchAll(/"content":"(\d+)"/g)) {
        seen++;
        delaysMs.push(Number(now - BigInt(sentAt as string)) / 1e6);
      }
    });
    if (seen !== STREAM_DELTAS) throw new Error(`${name} sent ${seen} of ${STREAM_DELTAS} deltas`);
  });
  return { seconds, chunks: delaysMs.length, delaysMs };
}

async function run(command: Command): Promise<Answers[keyof Answers]> {
  switch (command.kind) {
    case 'open':
      return open(command.targets, command.payment);
    case 'latency':
      return latency(command.count);
    case 'prepare':
      vouchers().prepare(command.stream ? bodies.stream : bodies.whole, command.count);
      return { count: command.count };
    case 'throughput': {
      const target = targetNamed(command.target);
      const seconds = await inParallel(command.concurrency, command.count, () => send(target, false, ignore));
      return { seconds };
    }
    case 'streams':
      return streams(command.target, command.concurrency, command.count);
    case 'check':
      return { lanes: vouchers().checkReceipts() };
  }
}

process.on('message', (message: Command | 'usage') => {
  if (message === 'usage') return;
  void run(message).then(
    (answer) => process.send?.({ answer }),
    (error: unknown) => process.send?.({ error: error instanceof Error ? error.message : String(error) }),
  );
});
// Commands are all it waits for.
process.channel?.ref();
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);

export type LoadReply = { readonly answer: unknown } | { readonly error: string } | ProcessUsage;
