// openai-node against every case. JSON in, one JSON line a case.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const messages = [{ role: "user", content: "hi" }];

async function askForAResponse(client, one, seen) {
  const asked = { model: one.model, input: "hi" };
  if (!one.stream) {
    const answer = await client.responses.create(asked);
    seen.text = answer.output_text;
    seen.finish = answer.status;
    return;
  }
  for await (const event of await client.responses.create({ ...asked, stream: true })) {
    if (event.type === "response.output_text.delta") seen.text += event.delta;
    if (["response.completed", "response.incomplete"].includes(event.type)) {
      seen.finish = event.response.status;
    }
    if (event.type === "error") {
      Object.assign(seen, { ended: "error", error: "error event", code: event.code });
    }
  }
}

async function ask(client, one, seen) {
  if (one.api === "responses") {
    await askForAResponse(client, one, seen);
    return;
  }
  if (!one.stream) {
    const answer = await client.chat.completions.create({ model: one.model, messages });
    seen.text = answer.choices[0].message.content;
    seen.finish = answer.choices[0].finish_reason;
    return;
  }
  const stream = await client.chat.completions.create({ model: one.model, messages, stream: true });
  for await (const chunk of stream) {
    for (const choice of chunk.choices) {
      seen.text += choice.delta.content ?? "";
      seen.finish = choice.finish_reason ?? seen.finish;
    }
  }
}

async function run(one) {
  const seen = { name: one.name, ended: "ok", text: "", finish: null, attempts: 0 };
  const counting = (...words) => {
    seen.attempts += 1;
    return fetch(...words);
  };
  await new Promise((done) => setTimeout(done, one.after_s * 1000));
  const started = performance.now();
  try {
    const client = new OpenAI({ baseURL: one.base_url, apiKey: "none", fetch: counting });
    await ask(client, one, seen);
  } catch (error) {
    // Of several errors in a stream the first counts.
    if (seen.ended === "ok") {
      seen.ended = "error";
      seen.error = error.constructor.name;
      seen.code = error.code ?? null;
      seen.status = error.status ?? null;
    }
  }
  seen.total_s = (performance.now() - started) / 1000;
  console.log(JSON.stringify(seen));
}

const [warmUp, ...cases] = JSON.parse(readFileSync(0, "utf8"));
await run(warmUp);
await Promise.all(cases.map(run));
process.exit(0);
