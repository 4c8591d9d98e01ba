/** CPU time of this process: on a shared machine the clock tells what others do as well. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
