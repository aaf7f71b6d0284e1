// Vercel's AI SDK with its provider for compatible servers. JSON in, one JSON line a case.
import { readFileSync } from "node:fs";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false;

// A retry error holds the last attempt's; it is what tells one failure from another. Of several
// errors in a stream the first counts.
function describe(seen, error) {
  if (seen.ended === "error") return;
  const last = error?.lastError ?? error;
  let body = null;
  try {
    body = JSON.parse(last?.responseBody ?? "null");
  } catch {
    // not JSON: then there is no code either
  }
  seen.ended = "error";
  seen.error = error?.name ?? typeof error;
  seen.status = last?.statusCode ?? null;
  seen.code = body?.error?.code ?? error?.code ?? null;
}

async function ask(model, seen, stream) {
  if (!stream) {
    const answer = await generateText({ model, prompt: "hi" });
    seen.text = answer.text;
    seen.finish = answer.finishReason;
    return;
  }
  const { fullStream } = streamText({ model, prompt: "hi", onError: () => {} });
  for await (const part of fullStream) {
    if (part.type === "text-delta") seen.text += part.text;
    if (part.type === "finish") seen.finish = part.finishReason;
    if (part.type === "error") describe(seen, part.error);
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
    const provider = createOpenAICompatible({
      name: "pointsman",
      baseURL: one.base_url,
      apiKey: "none",
      fetch: counting,
    });
    await ask(provider(one.model), seen, one.stream);
  } catch (error) {
    describe(seen, error);
  }
  seen.total_s = (performance.now() - started) / 1000;
  console.log(JSON.stringify(seen));
}

const [warmUp, ...cases] = JSON.parse(readFileSync(0, "utf8"));
await run(warmUp);
await Promise.all(cases.map(run));
process.exit(0);
