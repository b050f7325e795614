// One painted picture: what made it, and what can be done with it.
import { $, button, make, plain } from "./dom.js";
import { address, call } from "./api.js";
import { openSheet } from "./adapter.js";
import { hue, ofPicture } from "./composition.js";
import { copyText, saveForm } from "./export.js";
import { copy } from "./files.js";
import { toast } from "./notice.js";

/** Returns the figure of a picture. `job()` is its job, `acts` what else it can be used for; without, only its large view has buttons. */
export function figure(picture, job, acts = null) {
  const image = drawn(picture);
  const open = make("button", { type: "button", className: "frame", attr: { "aria-label": `picture with seed ${picture.seed}, larger` }, on: { click: () => enlarge(picture, job, acts ?? {}) } }, image);
  return make("figure", { className: "picture" }, open, make("figcaption", {},
    picture.label && make("p", { className: "label", textContent: picture.label }),
    !picture.label && make("p", { className: "quiet small", textContent: `seed ${picture.seed}` }),
    laid(picture, job()), acts && actions(picture, job, acts)));
}

function drawn(picture) {
  const image = make("img", { src: address(picture.url), alt: picture.label ? `${picture.label}: ${picture.prompt}` : picture.prompt, decoding: "async" });
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 160));
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "lost", textContent: "The server does not keep this picture any more." })));
  return image;
}

function laid(picture, job) {
  const places = new Map((job.composition?.choices ?? []).map(({ id }, place) => [id, place]));
  const told = (picture.choices ?? []).map(({ id, title, weight }, place) =>
    make("li", { className: `dot ${hue(places.get(id) ?? place)}`, textContent: `${title} ${plain(weight)}` }));
  return make("ul", { className: "laid small" }, told.length ? told : make("li", { className: "quiet", textContent: "no adapters" }));
}

function actions(picture, job, acts) {
  const attempt = (run) => async () => {
    try { await run(); } catch (error) { toast(error.message); }
  };
  const composition = () => {
    if (!job().composition) throw new Error("This picture's composition is not known any more; its PNG holds it.");
    return ofPicture(job().composition, picture);
  };
  const all = [
    make("a", { className: "button plain", href: address(picture.url), download: `velatura-${picture.seed}.png`, textContent: "PNG" }),
    button("A1111", attempt(() => copyText(composition(), "a1111")), { title: "copy the prompt with its <lora:…> tags" }),
    button("ComfyUI", attempt(() => saveForm(composition(), "comfyui")), { title: "save the workflow" }),
    button("Story", attempt(() => tellStory(picture)), { title: "all that made it" }),
  ];
  if (acts.again) all.push(button("Again", attempt(() => leave(acts.again(job(), picture))), { title: "this prompt, these adapters, this seed" }));
  if (acts.startFrom) all.push(button("Vary", attempt(() => leave(acts.startFrom(picture))), { title: "paint from this picture" }));
  return make("div", { className: "acts" }, all);
}

/** Closes the large view, since what was asked for is seen behind it. */
function leave(done) {
  $("sheet").close();
  return done;
}

/** Returns the path of a picture's story. */
export const storyOf = (picture) => `${picture.url.replace(/\.png$/, "")}/story`;

async function tellStory(picture) {
  const story = JSON.stringify(await call("GET", storyOf(picture)), null, 2);
  openSheet("The picture’s story", make("p", { className: "quiet", textContent: "All that decided its pixels. It is in the PNG too, and velatura repaint paints it again." }),
    button("Copy", () => copy(story, "the story"), { look: "" }), make("pre", { textContent: story }));
}

function enlarge(picture, job, acts) {
  openSheet(picture.label ?? `Seed ${picture.seed}`, make("div", { className: "large" }, drawn(picture)),
    make("p", { className: "sheet-text", textContent: picture.prompt }), laid(picture, job()), actions(picture, job, acts));
}
