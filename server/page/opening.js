// What another tool made, as a composition: a picture, a workflow, a recipe, or a prompt with its adapters in it.
import { call } from "./api.js";
import { dataUrl } from "./files.js";

const WRITTEN = /<(?:lora|lyco):[^<>]+>/i;

/** Returns whether a prompt names its adapters itself, as A1111's do. */
export const namesAdapters = (prompt) => WRITTEN.test(prompt);

/** Returns the composition that a file holds. */
export async function opened(file, signal) {
  const url = await dataUrl(file);
  return read({ file: url.slice(url.indexOf(",") + 1), name: file.name.slice(-200) }, signal);
}

/** Returns the composition that a prompt names. */
export const written = (prompt, signal) => read({ text: prompt }, signal);

/** What the catalogue does not have cannot be laid on: only the notes tell of it. */
async function read(asked, signal) {
  const found = await call("POST", "import", asked, signal);
  return { ...found, choices: found.choices.filter(({ id }) => id !== null), notes: found.notes ?? [] };
}
