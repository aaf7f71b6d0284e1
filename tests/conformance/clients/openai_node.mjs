// openai-node against every case. JSON in, one JSON line a case.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const messages = [{ role: "user", content: "hi" }];

async function ask(client, one, seen) {
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
    seen.ended = "error";
    seen.error = error.constructor.name;
    seen.code = error.code ?? null;
    seen.status = error.status ?? null;
  }
  seen.total_s = (performance.now() - started) / 1000;
  console.log(JSON.stringify(seen));
}

await Promise.all(JSON.parse(readFileSync(0, "utf8")).map(run));
process.exit(0);
