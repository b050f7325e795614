// Speaks with the server: JSON there, JSON back, and one sentence where it fails.
import { askToken } from "./login.js";
import { recall, remember } from "./memory.js";
import { answered, silent } from "./notice.js";

const GONE = "The server does not answer. Nothing is lost: try again when it is back.";

/** An answer that is no success; `message` is a sentence for people, `status` is 0 where none came. */
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function client() {
  let name = recall("client", null);
  if (name === null) {
    name = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    remember("client", name);
  }
  return name;
}

/** Returns the address of a path of the server, also where it is served below another's path. */
export const address = (path) => new URL(path.replace(/^\//, ""), document.baseURI.replace(/#.*/, "")).href;

const wellFormed = (name, value) => (typeof value === "string" && value.toWellFormed ? value.toWellFormed() : value);

async function ask(method, path, { body, signal, accept = "application/json" } = {}) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(address(path), {
        method, signal, cache: "no-cache",
        headers: {
          Accept: accept, "X-Velatura-Client": client(),
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        },
        body: body === undefined ? undefined : JSON.stringify(body, wellFormed),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      silent(() => fetch(address("health"), { cache: "no-store" }));
      throw new Failure(0, GONE);
    }
    answered();
    if (answer.status === 401) {
      await askToken(logIn);
      continue;
    }
    if (answer.ok) return answer;
    throw new Failure(answer.status, await sentence(answer));
  }
}

async function sentence(answer) {
  try {
    const { error } = await answer.json();
    return error.message || `The server answered ${answer.status}.`;
  } catch {
    return `The server answered ${answer.status}.`;
  }
}

async function logIn(token) {
  const answer = await fetch(address("login"), {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  });
  return answer.ok ? null : sentence(answer);
}

/** Asks and returns the JSON of the answer; throws a Failure. */
export async function call(method, path, body, signal) {
  return (await ask(method, path, { body, signal })).json();
}

/** Returns the bytes of a picture or a file. */
export async function bytes(path) {
  return (await ask("GET", path, { accept: "*/*" })).blob();
}

const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export const ended = (job) => ["done", "failed", "cancelled"].includes(job.state);

/** Tells each change of a job until it has ended. A connection that breaks is opened again. */
export async function follow(id, tell, signal) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
    try {
      const answer = await ask("GET", `jobs/${id}/events`, { signal, accept: "text/event-stream" });
      for await (const job of eventsOf(answer)) {
        wait = 500;
        tell(job);
        if (ended(job)) return;
      }
    } catch (error) {
      if (error.name === "AbortError" || (error instanceof Failure && error.status !== 0)) throw error;
    }
    await rest(wait);
  }
}

async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (text + value).split(/\r\n|\n|\r/);
    text = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
  }
}
