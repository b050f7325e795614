// A composition in other tools' forms.
import { button, make } from "./dom.js";
import { call } from "./api.js";
import { sent } from "./composition.js";
import { copy, save } from "./files.js";
import { toast } from "./notice.js";

const NAMES = {
  a1111: "A1111, Forge, SD.Next", comfyui: "ComfyUI workflow", rgthree: "rgthree Power Lora Loader", "lora-manager": "Lora Manager recipe",
  "lora-manager-text": "Lora Manager text", invokeai: "InvokeAI metadata", air: "AIR names", csv: "CSV table", json: "Velatura JSON",
};

/** Returns {text, file_name, media_type, notes} of a composition in a form. */
export async function exported(composition, form, negative = "") {
  const made = await call("POST", "export", { composition: sent(composition), form, ...(negative ? { negative } : {}) });
  if (made.notes?.length) toast(made.notes.join("; "));
  return made;
}

/** Copies a composition as A1111's text. */
export async function copyText(composition, form, negative) {
  const { text, notes } = await exported(composition, form, negative);
  await copy(text, `the text for ${NAMES[form] ?? form}`);
  if (notes?.length) toast(notes.join("; "));
}

/** Saves a composition in a form as a file. */
export async function saveForm(composition, form, negative) {
  const { text, file_name: name, media_type: type } = await exported(composition, form, negative);
  save(text, name, type);
}

/** Returns the row that exports what `current()` returns; what fails is told by `fail`. */
export function exporter(forms, current, fail) {
  const select = make("select", { attr: { "aria-label": "the form to export" } },
    forms.map((form) => make("option", { value: form, textContent: NAMES[form] ?? form })));
  const act = (run) => async () => {
    try { await run(current().composition, select.value, current().negative); } catch (error) { fail(error); }
  };
  return [make("span", { className: "quiet", textContent: "Take it to" }), select,
    button("copy as text", act(copyText), { sign: "copy", look: "" }), button("save as a file", act(saveForm), { sign: "save", look: "" })];
}
