// Does Databricks' provider for Vercel's AI SDK run against a workspace?

import assert from "node:assert/strict";
import { createDatabricksProvider } from "@databricks/ai-sdk-provider";
import { generateText, jsonSchema, streamText, tool } from "ai";
import { CLAUDE, GPT, HOST, LLAMA, PARAMETERS, QUESTION, TOKEN, answered, run } from "./checks.mjs";

const provider = createDatabricksProvider({
  baseURL: `${HOST}/serving-endpoints`,
  headers: { Authorization: `Bearer ${TOKEN}` },
});
const chat = (endpoint) => provider.chatCompletions(endpoint);
const weather = tool({ description: "The weather", inputSchema: jsonSchema(PARAMETERS) });

await run(["@databricks/ai-sdk-provider", "ai"], [
  ["plain", async () => {
    for (const endpoint of [GPT, CLAUDE, LLAMA]) {
      const reply = await generateText({ model: chat(endpoint), prompt: QUESTION });
      answered(reply.text);
      assert.equal(reply.finishReason, "stop");
      assert.ok(reply.usage.totalTokens > 2);
    }
  }],
  ["stream", async () => {
    for (const endpoint of [GPT, CLAUDE, LLAMA]) {
      const running = streamText({ model: chat(endpoint), prompt: QUESTION });
      let text = "";
      for await (const piece of running.textStream) text += piece;
      answered(text);
      // It takes the finish reason of every chunk, and GPT's last one, which has the usage, has no choices.
      assert.equal(await running.finishReason, endpoint === GPT ? "other" : "stop");
      assert.ok((await running.usage).totalTokens > 2);
    }
  }],
  ["tools", async () => {
    const asked = { model: chat(GPT), prompt: QUESTION, tools: { weather }, toolChoice: "required" };
    assert.ok("city" in (await generateText(asked)).toolCalls[0].input);
    assert.ok("city" in (await streamText(asked).toolCalls)[0].input);
  }],
  ["Responses", async () => {
    answered((await generateText({ model: provider.responses(GPT), prompt: QUESTION })).text);
    answered(await streamText({ model: provider.responses(GPT), prompt: QUESTION }).text);
  }],
  ["errors", async () => {
    await assert.rejects(generateText({ model: chat("nope"), prompt: QUESTION, maxRetries: 0 }), /does not exist|404/);
  }],
]);
