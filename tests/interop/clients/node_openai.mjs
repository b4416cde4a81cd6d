// Does OpenAI's client for Node run against a workspace?

import assert from "node:assert/strict";
import OpenAI from "openai";
import { CLAUDE, GPT, HOST, LLAMA, MESSAGES, PARAMETERS, QUESTION, TOKEN, answered, run } from "./checks.mjs";

const client = new OpenAI({ apiKey: TOKEN, baseURL: `${HOST}/serving-endpoints` });
const TOOL = { type: "function", function: { name: "weather", parameters: PARAMETERS } };

async function textOf(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}

await run(["openai"], [
  ["plain", async () => {
    for (const model of [GPT, CLAUDE, LLAMA]) {
      const reply = await client.chat.completions.create({ model, messages: MESSAGES });
      answered(reply.choices[0].message.content);
      assert.ok(reply.usage.total_tokens > 2);
    }
  }],
  ["stream", async () => {
    for (const model of [GPT, CLAUDE, LLAMA]) {
      answered(await textOf(await client.chat.completions.create({ model, messages: MESSAGES, stream: true })));
    }
  }],
  ["tools", async () => {
    const asked = { model: GPT, messages: MESSAGES, tools: [TOOL], tool_choice: "required" };
    const reply = await client.chat.completions.create(asked);
    assert.ok("city" in JSON.parse(reply.choices[0].message.tool_calls[0].function.arguments));
    const folded = await client.chat.completions.stream(asked).finalChatCompletion();
    assert.ok("city" in JSON.parse(folded.choices[0].message.tool_calls[0].function.arguments));
  }],
  ["JSON schema", async () => {
    const format = { type: "json_schema", json_schema: { name: "place", schema: PARAMETERS } };
    const reply = await client.chat.completions.create({ model: GPT, messages: MESSAGES, response_format: format });
    assert.ok("city" in JSON.parse(reply.choices[0].message.content));
  }],
  ["Responses", async () => {
    answered((await client.responses.create({ model: GPT, input: QUESTION })).output_text);
    let text = "";
    for await (const event of await client.responses.create({ model: GPT, input: QUESTION, stream: true })) {
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    answered(text);
  }],
  ["gateway", async () => {
    const there = new OpenAI({ apiKey: TOKEN, baseURL: `${HOST}/ai-gateway/mlflow/v1` });
    answered((await there.responses.create({ model: "system.ai.gpt-5", input: QUESTION })).output_text);
  }],
  ["errors", async () => {
    await assert.rejects(client.chat.completions.create({ model: "nope", messages: MESSAGES }), OpenAI.NotFoundError);
  }],
]);
