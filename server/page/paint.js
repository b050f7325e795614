// The Compose page's right half: how a prompt is painted, and the pictures as they come.
import { $, button, icon, later, make, plain, show } from "./dom.js";
import { bytes, call, ended } from "./api.js";
import { current, refresh, restore } from "./compose.js";
import { ofPicture, sent } from "./composition.js";
import { dataUrl } from "./files.js";
import { storyOf } from "./picture.js";
import { JobView } from "./job.js";
import { recall, remember } from "./memory.js";
import { toast } from "./notice.js";
import { link } from "./router.js";

const KEPT = ["count", "seed", "steps", "guidance", "width", "height", "negative", "clip-skip", "scheduler"];
const LARGEST_SEED = 2 ** 32;
const SHOWN = 10; // jobs of earlier that are shown again after a reload

let about = {};
let start = null; // {picture, mask, strength}
let rolls = true; // whether each painting has a new seed
const views = new Map();

const value = (id) => ($(id).value.trim() === "" ? null : Number($(id).value));
const roll = () => { $("seed").value = Math.floor(Math.random() * LARGEST_SEED); };

/** Tells {masks, seed} where pictures are to differ in their adapters, else null. */
export function wantedMasks() {
  const count = value("count") ?? 1;
  return $("masks").checked ? { masks: Math.min(count, about.limits?.pictures ?? count), seed: value("seed") ?? 0 } : null;
}

export function startPaint(told) {
  about = told;
  const limits = about.limits ?? {};
  if (limits.pictures) $("count").max = limits.pictures;
  if (limits.steps) $("steps").max = limits.steps;
  if (limits.side) $("width").max = $("height").max = limits.side;
  $("scheduler").append(...(about.schedulers ?? []).map((name) => make("option", { value: name, textContent: name })));
  recover();
  $("dice").append(icon("dice"));
  $("dice").addEventListener("click", () => { setRolls(!rolls); if (rolls) roll(); });
  $("seed").addEventListener("input", () => setRolls(false));
  $("paint-form").addEventListener("input", () => {
    remember("painting", { ...Object.fromEntries(KEPT.map((id) => [id, $(id).value])), masks: $("masks").checked, rolls });
  });
  const redraw = later(300, refresh);
  for (const id of ["count", "seed", "masks"]) $(id).addEventListener("input", () => { if (id === "masks" || $("masks").checked) redraw(); });
  $("start-file").addEventListener("change", async () => {
    const [file] = $("start-file").files;
    if (file) startFrom(await dataUrl(file));
  });
  $("paint-form").addEventListener("submit", (event) => {
    event.preventDefault();
    paint();
  });
  addEventListener("keydown", keys);
  if (/Mac|iPhone|iPad/.test(navigator.platform)) document.querySelector(".go kbd").textContent = "⌘ Enter";
  tellPainter();
  earlier();
}

export function openPaint() {
  $("to-compare").href = link("compare", { prompt: $("prompt").value.trim() });
}

function recover() {
  const kept = recall("painting", {});
  for (const id of KEPT) if (kept[id]) $(id).value = kept[id];
  $("masks").checked = kept.masks === true;
  setRolls(kept.rolls !== false);
  if ($("seed").value === "") roll();
}

function setRolls(on) {
  rolls = on;
  $("dice").setAttribute("aria-pressed", String(on));
  const label = on ? "a new seed for each painting; hold this one" : "this seed for each painting; roll the dice";
  $("dice").setAttribute("aria-label", label);
  $("dice").title = label;
}

/** Shows what paints and what it would take by itself, or why nothing does. */
export function tellPainter() {
  for (const [place, side] of ["width", "height"].entries()) if (about.own_size) $(side).placeholder = about.own_size[place];
  for (const name of ["steps", "guidance"]) if (about.defaults?.[name] != null) $(name).placeholder = about.defaults[name];
  const says = about.loading ? `${about.model} is being loaded …` : about.painter ? about.model ?? "" : "no checkpoint";
  $("painter").textContent = says;
  $("painter").title = says;
  show($("paint-fields"), about.painter);
  show($("paint-form").querySelector(".go"), about.painter);
  if (!about.painter) {
    $("paint-error").classList.toggle("calm", !about.trouble);
    const why = about.trouble ? [about.trouble] : ["This server chooses and exports, and paints nothing: it was started without a checkpoint. ",
      make("code", { textContent: "velatura serve --model FILE" }), " paints too."];
    $("paint-error").replaceChildren(...why);
  }
}

function keys(event) {
  if ($("compose").hidden || document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (about.painter && !$("paint").disabled) $("paint-form").requestSubmit();
  } else if (event.key === "Escape") {
    const running = [...views.values()].reverse().find((view) => !ended(view.job));
    if (running) running.cancel();
  }
}

async function paint() {
  $("paint-error").textContent = "";
  $("paint").disabled = true;
  try {
    const composition = await current();
    if (composition === null) {
      $("prompt").focus();
      throw new Error("Write a prompt first.");
    }
    const { job } = await call("POST", "generate", request(composition));
    shown(job);
    if (rolls) {
      roll();
      $("seed").dispatchEvent(new Event("rolled"));
      if ($("masks").checked) refresh();
    }
  } catch (error) {
    $("paint-error").textContent = error.message;
  } finally {
    $("paint").disabled = false;
  }
}

function request(composition) {
  const asked = {
    composition: sent(composition), count: value("count") ?? 1, seed: value("seed"), steps: value("steps"), guidance: value("guidance"),
    width: value("width"), height: value("height"), clip_skip: value("clip-skip"), scheduler: $("scheduler").value || null,
    negative: $("negative").value.trim() || null, masks: $("masks").checked || null,
    start: start && { picture: start.picture, strength: start.strength, ...(start.mask ? { mask: start.mask } : {}) },
  };
  return Object.fromEntries(Object.entries(asked).filter(([, told]) => told !== null));
}

function shown(job) {
  if (views.has(job.id)) return;
  const view = new JobView(job, { again, startFrom: startFromPicture });
  views.set(job.id, view);
  $("jobs").prepend(view.node);
}

async function earlier() {
  try {
    const { jobs } = await call("GET", "jobs");
    const mine = jobs.filter((job) => !job.pictures.some(({ label }) => label)).slice(0, SHOWN);
    for (const job of mine.reverse()) if (job.pictures.length || !ended(job)) shown(job);
  } catch { /* it is only what was there before */ }
}

const STORIED = { steps: "steps", guidance: "guidance", width: "width", height: "height", negative: "negative", scheduler: "scheduler", clip_skip: "clip-skip" };

async function again(job, picture) {
  const { request: made } = await call("GET", storyOf(picture));
  for (const [name, id] of Object.entries(STORIED)) $(id).value = made[name] ?? "";
  $("seed").value = picture.seed;
  $("count").value = 1;
  $("masks").checked = false;
  setRolls(false);
  $("paint-form").dispatchEvent(new Event("input"));
  restore(ofPicture(job.composition, picture));
  toast("Prompt, adapters, seed and settings are as they were");
  $("prompt").scrollIntoView({ block: "center" });
}

async function startFromPicture(picture) {
  try {
    startFrom(await dataUrl(await bytes(picture.url)));
    toast("The next painting starts from this picture");
  } catch (error) {
    $("paint-error").textContent = error.message;
  }
}

function startFrom(picture) {
  start = { picture, strength: start?.strength ?? 0.75, mask: null };
  $("more").open = true;
  const strength = make("input", {
    type: "range", className: "slider", min: 0, max: 1, step: 0.05, value: start.strength,
    attr: { "aria-label": "how far it is painted anew", "aria-valuetext": plain(start.strength) },
  });
  const told = make("span", { className: "quiet", textContent: plain(start.strength) });
  strength.addEventListener("input", () => {
    start.strength = Number(strength.value);
    told.textContent = plain(start.strength);
    strength.setAttribute("aria-valuetext", told.textContent);
  });
  const mask = make("input", { type: "file", accept: "image/png,image/jpeg,image/webp" });
  mask.addEventListener("change", async () => { start.mask = mask.files[0] ? await dataUrl(mask.files[0]) : null; });
  const remove = button("no picture to start from", () => {
    start = null;
    $("start-file").value = "";
    show($("start"), false);
  }, { sign: "close" });
  const image = make("img", { src: picture, alt: "the picture to start from" });
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 96));
  $("start").replaceChildren(image,
    make("div", {}, make("label", { className: "field-row" }, "Painted anew", strength, told),
      make("label", { className: "field" }, "Mask: what is white is painted anew", mask)), remove);
  show($("start"), true);
  $("start").scrollIntoView({ block: "nearest" });
}
