// The Search page: which adapters could serve a prompt, have a trigger, or look like a picture, and why.
import { $, button, make, many, percent, show } from "./dom.js";
import { call } from "./api.js";
import { openAdapter, shareBar } from "./adapter.js";
import { pageOf, thumbnail, titled } from "./card.js";
import { lockIn } from "./compose.js";
import { meta } from "./composition.js";
import { dataUrl } from "./files.js";
import { filters } from "./filters.js";
import { toast } from "./notice.js";
import { go, rename } from "./router.js";

const FIRST = 20;
const MOST = 200;

let about = {};
let readFilter = () => ({});
let limit = FIRST;
let picture = null;
let similar = null; // {id, title}
let last = null;
let underWay = null;

export function startSearch(told) {
  about = told;
  const names = ["family", "kinds", "commercial", "safe", "installed", "no_real_people", "whole", "unknown_family"];
  readFilter = filters($("search-filters").querySelector(".fold-body"), "search-filter", names, about, () => last && search());
  show($("by-picture"), about.search_by_picture === true);
  $("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("query").value.trim()) forget();
    limit = FIRST;
    if (!picture) $("search-picture").value = "";
    search();
  });
  for (const radio of document.querySelectorAll('input[name="by"]')) radio.addEventListener("change", () => $("query").value.trim() && search());
  $("search-picture").addEventListener("change", async () => {
    const [file] = $("search-picture").files;
    forget();
    picture = file ? await dataUrl(file) : null;
    if (picture) search();
  });
  $("more-results").addEventListener("click", () => {
    limit = Math.min(MOST, limit * 2);
    search();
  });
}

/** Asks no more by an adapter or a picture. */
function forget() {
  similar = picture = null;
}

const byTrigger = () => document.querySelector('input[name="by"]:checked').value === "trigger";

export function openSearch(params) {
  const query = params.get("q") ?? "";
  const by = params.get("by") === "trigger" ? "trigger" : "prompt";
  similar = params.get("like") ? { id: Number(params.get("like")), title: params.get("name") ?? "" } : null;
  if (!query && !similar) return;
  $("query").value = query;
  document.querySelector(`input[name="by"][value="${by}"]`).checked = true;
  if (JSON.stringify(question()) !== last) search();
}

function question() {
  const asked = { limit, filter: readFilter() };
  if (similar) return { ...asked, similar_to: similar.id };
  if (picture) return { ...asked, picture };
  return { ...asked, prompt: $("query").value.trim(), trigger: byTrigger() };
}

async function search() {
  const body = question();
  underWay?.abort();
  if (!body.prompt && !picture && !similar) {
    $("search-error").textContent = "Write what to search for.";
    return;
  }
  const running = (underWay = new AbortController());
  rename("search", similar ? { like: similar.id, name: similar.title } : { q: body.prompt, by: body.trigger && "trigger" });
  $("search-error").textContent = "";
  $("search-status").textContent = "searching …";
  try {
    const found = await call("POST", "search", body, running.signal);
    last = JSON.stringify(body);
    draw(found);
  } catch (error) {
    if (error.name === "AbortError") return;
    $("search-status").textContent = "";
    $("search-error").textContent = error.message;
  }
}

const EXCLUDED = { nsfw: "by their rating", commercial: "by their licence", real_people: "as they depict real persons", blocked: "as they are blocked", family: "by their base", kinds: "by their kind", installed: "as they are not on the server" };

function draw(found) {
  const out = Object.entries(found.excluded ?? {}).filter(([, count]) => count).map(([why, count]) => `${count} kept out ${EXCLUDED[why] ?? `(${why})`}`);
  const head = similar ? `${many(found.candidates.length, "adapter")} that do what “${similar.title}” does` : many(found.candidates.length, "adapter");
  $("search-status").textContent = [head, ...out, ...(found.notes ?? [])].join("; ");
  $("results").replaceChildren(...found.candidates.map(result));
  if (!found.candidates.length) {
    $("results").append(make("li", { className: "empty", textContent: "Nothing was found. Fewer words, or fewer filters, may help." }));
  }
  show($("more-results"), found.candidates.length >= limit && limit < MOST);
}

function result(candidate) {
  return make("li", { className: "result" },
    thumbnail(candidate),
    make("div", { className: "result-main" }, titled(candidate),
      make("p", { className: "quiet small", textContent: meta(candidate, about.families) }),
      make("p", { className: "small reason", textContent: (candidate.because ?? []).join(" · ") }),
      candidate.alternatives?.length > 0 && make("p", { className: "quiet small" }, "also ",
        candidate.alternatives.slice(0, 6).map((id, place) => [place > 0 && ", ", button(`no. ${id}`, () => openAdapter(id), { look: "inline" })].filter(Boolean)).flat())),
    make("div", { className: "score" }, make("span", { textContent: percent(candidate.score) }), shareBar(candidate.score)),
    make("div", { className: "result-acts" },
      button("Lock into the prompt", () => {
        lockIn(candidate);
        toast(`${candidate.title} is laid on whatever the prompt says`);
        go("compose");
      }, { look: "" }),
      button("Similar", () => go("search", { like: candidate.id, name: candidate.title }), { look: "plain" }),
      pageOf(candidate)));
}
