export { browserMissing, openInBrowser } from './chromium.ts';
export { type SourceServer, serveSources } from './serve.ts';
