/** Intel's words for how good a TCB is, and how those of platform, module and quoting enclave make one. */

/** What a TCB level of TCB information may say. */
export const TCB_LEVEL_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const;
export type TcbLevelStatus = (typeof TCB_LEVEL_STATUSES)[number];

/**
 * The verdict on a TCB. The last three never stand in collateral: a TD that only has to be launched again on the platform it
 * runs on, and `Unsupported`, where no level matches.
 */
export const TCB_STATUSES = [
  ...TCB_LEVEL_STATUSES,
  'RelaunchAdvised',
  'RelaunchAdvisedConfigurationNeeded',
  'Unsupported',
] as const;
export type TcbStatus = (typeof TCB_STATUSES)[number];

/** Never accepted, whatever a policy says. */
export function isHopeless(status: TcbStatus): boolean {
  return status === 'Revoked' || status === 'Unsupported';
}

/**
 * What is left of `status` where the TDX module or the quoting enclave has `other`. That a quoting enclave asks for configuration
 * alone changes nothing.
 */
export function converge(status: TcbStatus, other: TcbStatus): TcbStatus {
  if (status === 'Unsupported' || other === 'Unsupported') return 'Unsupported';
  if (status === 'Revoked' || other === 'Revoked') return 'Revoked';
  if (other === 'UpToDate' || other === 'ConfigurationNeeded') return status;
  if (status === 'UpToDate' || status === 'SWHardeningNeeded') return 'OutOfDate';
  if (status === 'ConfigurationNeeded' || status === 'ConfigurationAndSWHardeningNeeded')
    return 'OutOfDateConfigurationNeeded';
  return status;
}

/**
 * What a TD has that came to `launch` with the module it was launched under and comes to `current` with the one that runs. Where only
 * the first is out of date, launching it again would do. What runs out of date or revoked is so however it was launched: there Intel's
 * library says `launch`, and tells its caller of the other beside it.
 */
export function relaunch(launch: TcbStatus, current: TcbStatus): TcbStatus {
  if (isHopeless(launch) || isHopeless(current)) return converge(launch, current);
  if (isOutOfDate(launch) === isOutOfDate(current)) return launch;
  const isConfiguration = isConfigurationNeeded(launch) || isConfigurationNeeded(current);
  if (isOutOfDate(current)) return isConfiguration ? 'OutOfDateConfigurationNeeded' : 'OutOfDate';
  return isConfiguration ? 'RelaunchAdvisedConfigurationNeeded' : 'RelaunchAdvised';
}

function isOutOfDate(status: TcbStatus): boolean {
  return status === 'OutOfDate' || status === 'OutOfDateConfigurationNeeded';
}

function isConfigurationNeeded(status: TcbStatus): boolean {
  return (
    status === 'ConfigurationNeeded' ||
    status === 'ConfigurationAndSWHardeningNeeded' ||
    status === 'OutOfDateConfigurationNeeded'
  );
}
