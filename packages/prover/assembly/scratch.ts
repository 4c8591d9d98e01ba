/** Working memory of this instance: every thread has one of its own. */
let base: usize = 0;

/** Called once, before any kernel, with SCRATCH_BYTES of memory aligned to 64. */
export function setScratch(at: usize): void {
  base = at;
}

export const SCRATCH_BYTES: usize = 65536;

@inline
export function scratch(): usize {
  return base;
}
