// LiteRT.js is made for browsers. This gives Node what it asks of one: scripts from files, and
// `fetch` of files. Then it runs generate.mjs and prints the text as JSON.
//
//     node litert_in_node.mjs BUNDLE PROMPT MAX_NEW_TOKENS
import fs from 'node:fs';
import {createRequire} from 'node:module';
import vm from 'node:vm';

const wasm = new URL('./node_modules/@litertjs/core/wasm/', import.meta.url).pathname;
Object.assign(globalThis, {
  require: createRequire(import.meta.url),
  __dirname: wasm,
  __filename: `${wasm}litert.js`,
  self: globalThis,
  importScripts: (path) => vm.runInThisContext(fs.readFileSync(String(path), 'utf8')),
  fetch: async (path) => new Response(
      fs.readFileSync(String(path)), {headers: {'content-type': 'application/wasm'}}),
});
// What LiteRT logs on its way belongs to standard error.
console.info = console.log = console.warn = console.error;

const {generate} = await import('./generate.mjs');
const [bundle, prompt, maxNewTokens] = process.argv.slice(2);
let text = '';
for await (const piece of generate(bundle, prompt, {maxNewTokens: Number(maxNewTokens), wasm})) {
  text += piece;
}
process.stdout.write(JSON.stringify(text) + '\n');
