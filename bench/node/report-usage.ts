/** Preloaded into every measured process: tells its parent, when asked, what the process itself has used. */

/** Of one process, all its threads. */
export interface ProcessUsage {
  /** User and system time since the process began, µs. */
  readonly cpuUs: number;
  readonly rssBytes: number;
}

if (process.send !== undefined) {
  process.on('message', (message) => {
    if (message !== 'usage') return;
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuUs: user + system, rssBytes: process.memoryUsage.rss() } satisfies ProcessUsage);
  });
  // A benchmark that dies leaves nothing behind.
  process.on('disconnect', () => process.exit(1));
  process.channel?.unref();
}
