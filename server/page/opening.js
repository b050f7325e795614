// What another tool made, as a composition: a picture, a workflow or a recipe.
import { call } from "./api.js";
import { dataUrl } from "./files.js";

/** Returns the composition that a file holds. What the catalogue does not have cannot be laid on: only the notes tell of it. */
export async function opened(file, signal) {
  const url = await dataUrl(file);
  const asked = { file: url.slice(url.indexOf(",") + 1), name: file.name.slice(-200) };
  const found = await call("POST", "import", asked, signal);
  return { ...found, choices: found.choices.filter(({ id }) => id !== null), notes: found.notes ?? [] };
}
