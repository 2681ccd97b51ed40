// SPDX-License-Identifier: Apache-2.0

// Reads a JSON array of Kubernetes objects from the standard input and prints a JSON array with what is
// wrong with each of them, "" for nothing: by its schema (npm ci has put it beside this file), and by its
// TypeScript type, since schemas pass over members that they do not know.
import {readFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import ts from "typescript";

const here = dirname(fileURLToPath(import.meta.url));
const groups = {
  "v1": "kubernetes-models/v1",
  "apps/v1": "kubernetes-models/apps/v1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};

async function bySchema(object) {
  const group = groups[object.apiVersion];
  if (group === undefined)
    return `apiVersion ${object.apiVersion} has no schema here`;
  const Kind = (await import(group))[object.kind];
  if (Kind === undefined)
    return `${object.apiVersion} has no ${object.kind}`;
  try {
    new Kind(object).validate();
    return "";
  } catch (error) {
    return error.message;
  }
}

// One file of source for each object, which is there in memory only.
function byType(objects) {
  const sources = new Map(objects.map((object, number) => [
    join(here, `object${number}.ts`),
    `import type {I${object.kind}} from "${groups[object.apiVersion]}";\n` +
    `export const object: I${object.kind} = ${JSON.stringify(object)};\n`]));
  const options = {
    strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, types: [],
    module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
  };
  const host = ts.createCompilerHost(options);
  const {fileExists, readFile, getSourceFile} = host;
  host.fileExists = (name) => sources.has(name) || fileExists(name);
  host.readFile = (name) => sources.get(name) ?? readFile(name);
  host.getSourceFile = (name, ...rest) => sources.has(name)
    ? ts.createSourceFile(name, sources.get(name), options.target) : getSourceFile(name, ...rest);
  const program = ts.createProgram([...sources.keys()], options, host);
  return [...sources.keys()].map((name) => {
    const source = program.getSourceFile(name);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
      .map((one) => ts.flattenDiagnosticMessageText(one.messageText, " ")).join("; ");
  });
}

const objects = JSON.parse(readFileSync(0, "utf8"));
const schema = await Promise.all(objects.map(bySchema));
const known = objects.filter((_, number) => !/ has no /.test(schema[number]));
const types = byType(known);
console.log(JSON.stringify(objects.map((object, number) => schema[number] || types[known.indexOf(object)])));
