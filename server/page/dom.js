// Elements without markup: whatever text a catalogue holds is set as text, never read as HTML.
import { shapes } from "./icons.js";

export const $ = (id) => document.getElementById(id);

/** Returns an element. `props` are its properties, `data` its data attributes, `on` its listeners, `attr` the rest. */
export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  const { on, data, attr, ...own } = props;
  Object.assign(node, own);
  for (const [name, value] of Object.entries(data ?? {})) node.dataset[name] = value;
  for (const [name, value] of Object.entries(attr ?? {})) if (value !== null) node.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on ?? {})) node.addEventListener(name, listener);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Returns a drawn sign; what it means is said by the control that holds it. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", shapes[name]);
  svg.append(path);
  return svg;
}

/** Returns a button; a `label` with an `icon` is only spoken and shown as a tooltip. */
export function button(label, press, { sign = null, look = "plain", ...props } = {}) {
  const named = sign === null ? {} : { title: label, attr: { "aria-label": label } };
  return make("button", {
    type: "button", className: sign === null ? look : `${look} square`, on: { click: press }, ...props, ...named,
  }, sign === null ? label : icon(sign));
}

/** Shows or hides. */
export function show(node, shown) {
  node.hidden = !shown;
}

/** Returns a function that runs another once it has not been called for so many milliseconds. */
export function later(milliseconds, run) {
  let timer;
  const asked = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...args), milliseconds);
  };
  asked.stop = () => clearTimeout(timer);
  return asked;
}

export const percent = (share) => `${Math.round(share * 100)} %`;
export const number = (value) => Number(value).toLocaleString("en");
export const many = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;

/** Returns a file's or text's number without needless places: 0.80 is 0.8. */
export const plain = (value) => String(Math.round(value * 100) / 100);
