/** Points axis by axis. */

/** The coordinates of each axis. */
export function axisPoints<T>(point: readonly T[], axisBits: readonly number[]): T[][] {
  let at = 0;
  return axisBits.map((bits) => {
    at += bits;
    return point.slice(at - bits, at);
  });
}
