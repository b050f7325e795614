// What concerns the whole page: a server that is gone, an empty catalogue; and short words on what was done.
import { $, make } from "./dom.js";

let watching = false;
let clearing;
const returned = new Set();

/** Calls a function whenever the server is back. */
export const onReturn = (run) => returned.add(run);

/** Says that the server does not answer, and looks every two seconds whether it does again. */
export function silent(look) {
  if (watching) return;
  watching = true;
  tell("gone", "The server does not answer. It is looked for every two seconds; what you wrote stays here.");
  const again = async () => {
    if (!watching) return;
    try {
      await look();
      answered();
      for (const run of returned) run();
    } catch {
      setTimeout(again, 2000);
    }
  };
  setTimeout(again, 2000);
}

/** Says no more that it does not answer. */
export function answered() {
  if (!watching) return;
  watching = false;
  tell("gone", null);
}

/** Shows a sentence over the page under a name, or with null takes it away; a command in it is shown as such. */
export function tell(name, sentence, command = null) {
  $("notice").querySelector(`[data-name="${name}"]`)?.remove();
  if (sentence === null) return;
  const parts = command === null ? [sentence] : [`${sentence} `, make("code", { textContent: command })];
  $("notice").append(make("p", { className: "notice", data: { name } }, parts));
}

/** Says for a few seconds what was done. */
export function toast(words) {
  const node = $("told");
  (document.querySelector("dialog[open]") ?? document.body).append(node); // what is modal covers all else
  node.textContent = words;
  clearTimeout(clearing);
  clearing = setTimeout(() => { node.textContent = ""; }, 4000);
}
