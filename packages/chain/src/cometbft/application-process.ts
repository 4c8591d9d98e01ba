import { availableParallelism } from 'node:os';

/**
 * How the application's process is run: a thread of the pool for each core, and some to wait for the disk where cores are few;
 * and memory kept small, because most of what it holds is typed arrays, which neither a large young generation nor a heap
 * of malloc for each thread does any good.
 */
export const APPLICATION_PROCESS = {
  nodeFlags: ['--max-semi-space-size=8'],
  env: { UV_THREADPOOL_SIZE: `${Math.max(4, availableParallelism())}`, MALLOC_ARENA_MAX: '2' },
} as const;
