// Which adapters may be found: the fields, and what they ask of the server. They can only narrow what it allows.
import { make } from "./dom.js";
import { USES } from "./licence.js";
import { recall, remember } from "./memory.js";

const TICKS = {
  safe: "Only rated PG or PG13", no_real_people: "No real persons", installed: "Only files on the server’s machine",
  whole: "Only what the model wears whole", unknown_family: "Also of unknown base",
};

/** Builds the fields of a filter in a node and returns a function that reads them.
 *
 * `names` are the fields to show; they are remembered under `store`. `changed` is called on each change.
 */
export function filters(node, store, names, about, changed) {
  const kept = recall(store, {});
  const inputs = {};
  const select = (name, title, options) => {
    inputs[name] = make("select", {}, make("option", { value: "", textContent: "any" }),
      options.map(([value, text]) => make("option", { value, textContent: text })));
    inputs[name].value = options.some(([value]) => value === kept[name]) ? kept[name] : "";
    return make("label", { className: "field wide" }, title, inputs[name]);
  };
  const builders = {
    family: () => select("family", "Base model’s family", Object.entries(about.families ?? {})
      .filter(([name]) => !["unknown", "other"].includes(name))),
    kinds: () => select("kinds", "Kind", Object.entries(about.kinds ?? {}).map(([kind, count]) => [kind, `${kind} (${count})`])),
    commercial: () => select("commercial", "Licence", (about.uses ?? Object.keys(USES)).map((use) => [use, USES[use] ?? use])),
  };
  const tick = (name) => {
    inputs[name] = make("input", { type: "checkbox", checked: kept[name] === true });
    return make("label", { className: "tick" }, inputs[name], make("span", { textContent: TICKS[name] }));
  };
  const selects = names.filter((name) => name in builders).map((name) => builders[name]());
  const ticks = names.filter((name) => name in TICKS).map(tick);
  node.replaceChildren(make("div", { className: "fields" }, selects), make("div", { className: "ticks" }, ticks));

  const read = () => {
    const asked = {};
    for (const [name, input] of Object.entries(inputs)) {
      if (input.type === "checkbox") { if (input.checked && !input.disabled) asked[name] = true; }
      else if (input.value) asked[name] = name === "kinds" ? [input.value] : input.value;
    }
    return asked;
  };
  const summary = node.closest("details").querySelector("summary");
  const title = summary.textContent;
  const count = () => {
    const set = Object.keys(read()).length;
    summary.textContent = set ? `${title} (${set})` : title;
  };
  const depend = () => {
    for (const name of ["whole", "unknown_family"]) if (inputs[name]) inputs[name].disabled = !inputs.family.value;
  };
  node.addEventListener("change", () => {
    depend();
    remember(store, Object.fromEntries(Object.entries(read()).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value])));
    count();
    changed?.();
  });
  depend();
  count();
  return read;
}
