// The Compose page's left half: a prompt, the adapters chosen for its words, and what a person changes of them.
import { $, button, later, make, many, show } from "./dom.js";
import { call } from "./api.js";
import { card, titled } from "./card.js";
import { chips } from "./chips.js";
import { hue, meta, sent } from "./composition.js";
import { exporter } from "./export.js";
import { filters } from "./filters.js";
import { maskGrid } from "./masks.js";
import { recall, remember } from "./memory.js";
import { opened } from "./opening.js";
import { rename } from "./router.js";

const PAUSE = 600; // milliseconds without a key before adapters are chosen unasked

let about = {};
let readFilter = () => ({});
let asked = null; // what the composition was asked with, to see whether it still holds
let underWay = null;
let locked = recall("locked", {}); // {number: {title, weight}}
let banned = recall("banned", {}); // {number: title}
let wantsMasks = () => null;

/** What stands on the page; null until something was chosen. */
export let composition = null;

const promptText = () => $("prompt").value.trim();

function question() {
  const body = { prompt: promptText(), filter: { ...readFilter(), banned: Object.keys(banned).map(Number) } };
  body.locked = Object.fromEntries(Object.entries(locked).map(([number, { weight }]) => [number, weight]));
  const masks = wantsMasks();
  if (masks) Object.assign(body, masks);
  return body;
}

/** Starts the half; `masks()` tells {masks, seed} where pictures are to differ in their adapters, else null. */
export function startCompose(told, masks) {
  about = told;
  wantsMasks = masks;
  const names = about.painter
    ? ["commercial", "safe", "no_real_people"]
    : ["family", "kinds", "commercial", "safe", "no_real_people", "installed", "whole", "unknown_family"];
  readFilter = filters($("compose-filters").querySelector(".fold-body"), "compose-filter", names, about, () => choose());
  const unasked = later(PAUSE, () => about.composer === "builtin" && choose());
  $("prompt").addEventListener("input", () => {
    remember("prompt", $("prompt").value);
    unasked();
  });
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    event.preventDefault();
    unasked.stop();
    choose();
  });
  $("prompt-form").addEventListener("submit", (event) => {
    event.preventDefault();
    unasked.stop();
    choose();
  });
  $("open-file").addEventListener("change", () => {
    const [file] = $("open-file").files;
    $("open-file").value = ""; // so that the same file can be opened again
    if (file) choose(file);
  });
  $("compose").addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
  $("compose").addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file || event.target.matches("input[type=file]")) return;
    event.preventDefault();
    choose(file);
  });
  if (about.forms?.length) {
    $("export").append(...exporter(about.forms, () => ({ composition, negative: $("negative").value.trim() }), fail));
  }
  standing();
}

/** Opens the page with the prompt of an address, else with the last one. */
export function openCompose(params) {
  const prompt = params.get("prompt");
  if (prompt !== null && prompt !== $("prompt").value) $("prompt").value = prompt;
  else if (!$("prompt").value) $("prompt").value = recall("prompt", "");
  const stale = JSON.stringify(question()) !== asked;
  if (promptText() && stale && (about.composer === "builtin" || prompt !== null)) choose();
  else if (!composition) draw();
}

/** Lays an adapter on from another page, whatever is chosen. */
export function lockIn(adapter) {
  locked[adapter.id] = { title: adapter.title, weight: null };
  delete banned[adapter.id];
  keep();
}

/** Shows a composition that was made before as it was; all of its adapters are kept, and none is chosen beside them. */
export function restore(earlier) {
  $("prompt").value = earlier.prompt;
  remember("prompt", earlier.prompt);
  locked = Object.fromEntries(earlier.choices.filter(({ id }) => id !== null)
    .map(({ id, title, weight }) => [id, { title, weight }]));
  for (const { id } of earlier.choices) delete banned[id];
  keep();
  underWay?.abort();
  composition = { notes: [], ...earlier, refused: [], conflicts: [], masks: [], painted_prompt: "" };
  asked = JSON.stringify(question());
  rename("compose", { prompt: earlier.prompt });
  draw();
  validate();
}

/** Returns the composition of what is written now, chosen anew where that has changed; null without a prompt. */
export async function current() {
  if (!promptText()) return null;
  if (JSON.stringify(question()) !== asked || composition === null) await choose();
  if (composition === null) throw new Error($("prompt-error").textContent || "No adapters could be chosen.");
  return composition;
}

/** Chooses anew, if only because masks are wanted now. */
export function refresh() {
  if (composition !== null) choose();
}

/** Has adapters chosen for the prompt, or takes prompt and adapters as a file holds them. */
async function choose(file = null) {
  underWay?.abort();
  if (!file && !promptText()) {
    composition = asked = null;
    rename("compose");
    return draw();
  }
  const body = question();
  const running = (underWay = new AbortController());
  if (!file) rename("compose", { prompt: body.prompt });
  $("compose-status").textContent = about.loading ? "choosing, once the checkpoint is loaded …" : "choosing …";
  $("choices").setAttribute("aria-busy", "true");
  try {
    if (file) {
      const found = await opened(file, running.signal);
      restore(found);
      $("notes").open = found.notes.length > 0;
    } else {
      composition = await call("POST", "compose", { ...body, for_painting: Boolean(about.painter) }, running.signal);
      asked = JSON.stringify(body);
      draw();
    }
    fail(null);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!file) composition = asked = null;
    draw();
    fail(error);
  } finally {
    if (underWay === running) {
      underWay = null;
      $("choices").removeAttribute("aria-busy");
    }
  }
}

function fail(error) {
  $("prompt-error").textContent = error?.message ?? "";
}

function draw() {
  const found = composition ?? { prompt: "", choices: [], refused: [], notes: [], conflicts: [] };
  const status = composition === null ? "" : found.choices.length ? many(found.choices.length, "adapter") : "nothing fits well enough";
  $("compose-status").textContent = status;
  $("chips").replaceChildren(...(composition ? chips(found, focusCard) : []));
  const cards = found.choices.map((choice, place) => card(choice, place, changes(choice)));
  $("choices").replaceChildren(...cards);
  if (composition !== null && !cards.length) {
    $("choices").append(make("li", { className: "empty" }, "No adapter is laid on: the base model paints this prompt as well by itself, as far as the catalogue can tell."));
  }
  if (composition === null) {
    $("choices").append(make("li", { className: "empty" }, "Write a prompt. The adapters that serve its words appear here, with the reasons and their weights."));
  }
  fold($("refusals"), `Not taken (${found.refused?.length ?? 0})`, (found.refused ?? []).map(refusal));
  fold($("notes"), `Notes (${found.notes?.length ?? 0})`, (found.notes ?? []).map((note) => make("li", { textContent: note })));
  show($("painted"), Boolean(found.painted_prompt) && found.painted_prompt !== found.prompt);
  $("painted").querySelector("p").textContent = found.painted_prompt ?? "";
  show($("export"), composition !== null && Boolean(about.forms?.length));
  warn(found.conflicts ?? []);
  mix();
  masks();
  standing();
}

function fold(node, title, items) {
  show(node, items.length > 0);
  node.querySelector("summary").textContent = title;
  node.querySelector("ul").replaceChildren(...items);
}

function refusal(refused) {
  const take = refused.id !== null && refused.id !== undefined && button("take it", () => {
    lockIn(refused);
    choose();
  }, { look: "plain" });
  return make("li", {}, make("div", {}, titled(refused), make("p", { className: "small", textContent: refused.reason }),
    make("p", { className: "quiet small", textContent: meta(refused, about.families) })), take);
}

const WORDS = { error: "Does not go together", warning: "May spoil the picture", note: "Worth knowing" };

function warn(conflicts) {
  $("warnings").replaceChildren(...conflicts.map((conflict) => make("p", { className: `warning ${conflict.severity}` },
    make("strong", { textContent: `${WORDS[conflict.severity] ?? conflict.severity}: ` }), conflict.explanation)));
}

const validate = later(400, async () => {
  const judged = composition;
  try {
    const { conflicts } = await call("POST", "validate", { composition: sent(judged), prompt: judged.prompt });
    if (judged === composition) warn(conflicts);
  } catch (error) {
    fail(error);
  }
});

function changes(choice) {
  const number = choice.id;
  return {
    families: about.families,
    isLocked: number in locked,
    weigh(weight) {
      if (number !== null) locked[number] = { title: choice.title, weight };
      settled();
      mix();
      $("chips").replaceChildren(...chips(composition, focusCard));
      validate();
    },
    lock(isLocked) {
      if (isLocked) locked[number] = { title: choice.title, weight: choice.weight };
      else delete locked[number];
      settled();
    },
    ban() {
      banned[number] = choice.title;
      delete locked[number];
      keep();
      choose();
    },
  };
}

/** What a person keeps at the weight that it has changes nothing of the rest: it is not chosen anew for that. */
function settled() {
  keep();
  if (asked !== null) asked = JSON.stringify({ ...JSON.parse(asked), locked: question().locked });
}

function keep() {
  remember("locked", locked);
  remember("banned", banned);
  standing();
}

/** Shows what is always or never taken, each to be let go. */
function standing() {
  const release = (from, number, title, what) => make("span", { className: `tag ${what}` }, title,
    button(`let go of ${title}`, () => { delete from[number]; keep(); choose(); }, { sign: "close" }));
  const row = (title, from, what, named) => {
    const numbers = Object.keys(from);
    return numbers.length > 0 && make("p", {}, make("span", { className: "quiet", textContent: title }), numbers.map((number) => release(from, number, named(from[number]), what)));
  };
  const rows = [row("Always", locked, "kept", ({ title }) => title), row("Never", banned, "out", (title) => title)];
  $("always").replaceChildren(...rows.filter(Boolean));
}

/** Draws the adapters' weights as one glaze below the prompt. */
function mix() {
  $("glaze").replaceChildren(...(composition?.choices ?? []).map((choice, place) => {
    const layer = make("span", { className: hue(place) });
    layer.style.flexGrow = Math.min(Math.abs(choice.weight), 4);
    return layer;
  }));
}

function masks() {
  const drawn = composition?.masks ?? [];
  show($("mask-preview"), drawn.length > 0 && composition.choices.length > 0);
  if (!$("mask-preview").hidden) $("mask-preview").replaceChildren(maskGrid(composition.choices, drawn));
}

function focusCard(place) {
  const chosen = $("choices").querySelector(`[data-place="${place}"]`);
  chosen.scrollIntoView({ block: "nearest" });
  chosen.querySelector(".slider").focus({ preventScroll: true });
}
