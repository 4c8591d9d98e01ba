const SLICE_MS = 5;

/** To be awaited between the steps of long work: gives way to everything else once the work had its slice of time. */
export function breather(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < SLICE_MS) return;
    await new Promise(setImmediate);
    since = performance.now();
  };
}
