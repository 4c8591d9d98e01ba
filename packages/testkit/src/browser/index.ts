export { browserMissing, openInBrowser } from './chromium.ts';
export { type DrivenPage, drivePage } from './devtools.ts';
export { type SourceServer, serveSources } from './serve.ts';
