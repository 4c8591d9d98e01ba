/** CPU time of alternating operations: each round gives every operation its turn, so a busy machine disturbs all alike. */
import { percentile } from '../measure.ts';

export interface Cost {
  /** Of one operation, median of the rounds: CPU time of the whole process, collection of garbage included. */
  readonly cpuUs: number;
  /** By the clock, median of the rounds. */
  readonly wallUs: number;
}

const ROUNDS = 31;
const ROUND_US = 12_000;

/** Operations are warmed up first: what is measured runs compiled. */
export function costsOf<Name extends string>(
  operations: Readonly<Record<Name, () => void>>,
): Record<Name, Cost> {
  const names = Object.keys(operations) as Name[];
  const samples = names.map((name) => {
    const operation = operations[name];
    operation();
    const onceUs = timed(operation, 5).wallUs;
    return { name, operation, repeats: Math.max(1, Math.round(ROUND_US / onceUs)), costs: [] as Cost[] };
  });
  for (let round = 0; round < ROUNDS; round++)
    for (const { operation, repeats, costs } of samples) costs.push(timed(operation, repeats));
  return Object.fromEntries(
    samples.map(({ name, costs }) => [
      name,
      {
        cpuUs: percentile(
          costs.map(({ cpuUs }) => cpuUs),
          0.5,
        ),
        wallUs: percentile(
          costs.map(({ wallUs }) => wallUs),
          0.5,
        ),
      },
    ]),
  ) as Record<Name, Cost>;
}

function timed(operation: () => void, repeats: number): Cost {
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  for (let i = 0; i < repeats; i++) operation();
  const wallMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return { cpuUs: (user + system) / repeats, wallUs: (wallMs * 1000) / repeats };
}
