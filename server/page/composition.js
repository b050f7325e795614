// A composition as the server reads it back, and what can be told of it.
const CHOICE = new Set([
  "id", "source", "key", "model_id", "version_id", "file_id", "title", "version_name", "file_name", "creator", "family",
  "base_model", "kind", "hashes", "nsfw", "weight", "span", "triggers", "reason", "advised", "sure", "kept",
]);

/** Returns what the server takes: nothing that it added for the page. */
export function sent(composition) {
  const { prompt, composer, tasks, emphasis, suffix } = composition;
  const told = Object.entries({ prompt, composer, tasks, emphasis, suffix }).filter(([, value]) => value !== undefined);
  const choices = composition.choices.map((choice) =>
    Object.fromEntries(Object.entries(choice).filter(([name, value]) => CHOICE.has(name) && value !== null)));
  return { ...Object.fromEntries(told), choices };
}

/** Returns the composition of one picture of a job: the choices that were on, at the weights that they had. */
export function ofPicture(composition, picture) {
  const laid = new Map(picture.choices.map(({ id, weight }) => [id, weight]));
  const choices = composition.choices.filter(({ id }) => laid.has(id));
  return { ...composition, choices: choices.map((choice) => ({ ...choice, weight: laid.get(choice.id) })) };
}

const HUES = 8;

/** Returns the class that gives the choice at a place its colour. */
export const hue = (place) => `hue-${place % HUES}`;

/** Returns the words of a text as {text, word}: word is lower-case, or null between words. */
export function pieces(text) {
  return (text.match(/[\p{L}\p{N}_'’]+|[^\p{L}\p{N}_'’]+/gu) ?? []).map((piece) => ({
    text: piece, word: /[\p{L}\p{N}]/u.test(piece) ? piece.toLowerCase() : null,
  }));
}

const FUNCTION_WORDS = new Set("a an the in on at of with and by for to from".split(" "));

/** Returns the set of a text's words that say something. */
export const wordsOf = (text) => new Set(pieces(text).map(({ word }) => word).filter((word) => word && !FUNCTION_WORDS.has(word)));

/** Returns what is said of an adapter under its title. */
export function meta(adapter, families = {}) {
  const family = adapter.family && adapter.family !== "unknown" ? families[adapter.family] ?? adapter.family : "base unknown";
  return [adapter.version_name, family, adapter.kind, adapter.creator && `by ${adapter.creator}`].filter(Boolean).join(" · ");
}
