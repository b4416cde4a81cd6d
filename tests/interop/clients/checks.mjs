// How does a client's program report from Node? As `checks.py` does: its versions, then a line of JSON for each check.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export const HOST = process.env.DATABRICKS_HOST;
export const TOKEN = process.env.DATABRICKS_TOKEN;
export const GPT = "databricks-gpt-5";
export const CLAUDE = "databricks-claude-sonnet-4-5";
export const LLAMA = "databricks-meta-llama-3-3-70b-instruct";
export const QUESTION = "What is a mixture of experts model?";
export const MESSAGES = [{ role: "user", content: QUESTION }];
export const PARAMETERS = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

/** Assert that a text is the scripted answer to QUESTION. */
export function answered(text) {
  assert.ok(text?.startsWith(`You asked: "${QUESTION}".`), `got ${JSON.stringify(text)}`);
}

/** Run all checks, pairs of a name and a function, and print what came of each. */
export async function run(packages, checks) {
  const versions = { node: process.versions.node };
  for (const name of packages) {
    const described = new URL(`./node_modules/${name}/package.json`, import.meta.url);
    versions[name] = JSON.parse(readFileSync(described, "utf8")).version;
  }
  console.log(JSON.stringify({ versions }));
  for (const [check, prove] of checks) {
    try {
      await prove();
      console.log(JSON.stringify({ check, passed: true }));
    } catch (error) {
      console.error(error);
      console.log(JSON.stringify({ check, passed: false, reason: String(error).replace(/\s+/g, " ").slice(0, 400) }));
    }
  }
}
