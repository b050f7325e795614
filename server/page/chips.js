// The prompt's own words as chips: what of them is served is underlined in its adapter's colour.
import { make, plain } from "./dom.js";
import { hue, pieces, wordsOf } from "./composition.js";
import { link } from "./router.js";

/** Returns the chips of a composition; `focus(place)` shows the adapter of a chip that is pressed. */
export function chips(composition, focus) {
  const spans = composition.choices.map((choice) => wordsOf(choice.span ?? ""));
  const words = [...(composition.tasks ?? [])];
  for (const [place, choice] of composition.choices.entries()) {
    const covered = wordsOf(words.join(" "));
    if (choice.span && !choice.span.startsWith("<") && ![...spans[place]].some((word) => covered.has(word))) words.push(choice.span);
  }
  if (!words.length && composition.prompt) words.push(composition.prompt);
  return words.map((text) => chip(text, composition.choices, spans, focus));
}

function chip(text, choices, spans, focus) {
  const own = wordsOf(text);
  const serving = choices.map((choice, place) => ({ choice, place }))
    .filter(({ place }) => [...spans[place]].some((word) => own.has(word)));
  const told = make("span", { className: "chip-words" }, pieces(text).map(({ text: piece, word }) => {
    const by = serving.find(({ place }) => spans[place].has(word));
    return by ? make("span", { className: `under ${hue(by.place)}`, textContent: piece }) : piece;
  }));
  if (!serving.length) {
    const href = link("search", { q: text });
    return make("li", {}, make("a", { className: "chip bare", href, title: "no adapter; search for one" }, told,
      make("span", { className: "chip-by", textContent: "no adapter" })));
  }
  const by = serving.map(({ choice, place }) => make("span", { className: `chip-by dot ${hue(place)}`, textContent: `${choice.title} ${plain(choice.weight)}` }));
  return make("li", {}, make("button", { type: "button", className: "chip", on: { click: () => focus(serving[0].place) } }, told, by));
}
