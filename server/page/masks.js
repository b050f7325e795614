// Which adapters are on in which of the pictures to come.
import { make } from "./dom.js";
import { hue } from "./composition.js";

/** Returns the grid of masks: a row for each picture, a column for each choice. */
export function maskGrid(choices, masks) {
  const head = make("tr", {}, make("td"), choices.map((choice, place) =>
    make("th", { scope: "col" }, make("span", { className: `dot ${hue(place)}`, textContent: choice.title }))));
  const rows = masks.map((mask, row) => make("tr", {}, make("th", { scope: "row", textContent: `picture ${row + 1}` }),
    mask.map((isOn, place) => make("td", {}, make("span", { className: `cell ${hue(place)}${isOn ? " on" : ""}` },
      make("span", { className: "unseen", textContent: isOn ? "on" : "off" }))))));
  return make("div", { className: "scroll" }, make("table", { className: "masks" },
    make("caption", { className: "unseen", textContent: "which adapters are on in each picture" }), make("thead", {}, head), make("tbody", {}, rows)));
}
