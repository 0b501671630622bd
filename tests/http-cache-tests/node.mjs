// Runs http-cache-tests against a cache: node.mjs PACKAGE BASE [ID...]
//
// Prints one JSON array of [ID, KIND, TRUE | MESSAGE], of the tests with these ids, or of all. PACKAGE is the folder of
// http-cache-tests, and BASE the URL of the cache, whose backend is the package's server.

import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [directory, base, ...ids] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(resolve(directory, file)));
const fetch = createRequire(resolve(directory, "package.json"))("node-fetch");
const { default: suites } = await load("tests/index.mjs");
const { runTests, getResults } = await load("client/runner.mjs");

const selected = suites.map((suite) => ({
  ...suite,
  tests: suite.tests.filter((test) => !test.browser_only && (ids.length === 0 || ids.includes(test.id))),
}));
// At once; each waits three seconds at most.
await runTests(selected, fetch, false, base, 100);

const results = getResults();
const rows = selected.flatMap((suite) => suite.tests).map((test) => {
  const result = results[test.id];
  return [test.id, test.kind ?? "required", result === true || result.join(": ")];
});
console.log(JSON.stringify(rows));
