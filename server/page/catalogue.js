// The Catalogue page: what there is, what could not be read and why, and what is there twice.
import { $, button, make, many, number } from "./dom.js";
import { call } from "./api.js";
import { openAdapter } from "./adapter.js";
import { USES } from "./licence.js";

const TOTALS = { files: "adapters", models: "pages", installed: "on the server", described: "described", rejected: "rejected", missing: "gone" };
const GROUPS = { by_family: "By family", by_kind: "By kind", by_source: "By source", by_licence: "By what the licence allows", embedded: "Embedded, by model" };
const SHOWN = 50; // rejections
const GROUPS_SHOWN = 20; // groups of duplicates

let about = {};

export function startCatalogue(told) {
  about = told;
}

export async function openCatalogue() {
  $("catalogue-error").textContent = "";
  try {
    const [stats, rejected, duplicates] = await Promise.all([
      call("GET", "stats"), call("GET", `rejected?limit=${SHOWN}`), call("GET", "duplicates"),
    ]);
    totals(stats);
    counts(stats);
    reject(rejected, stats.rejected);
    double(duplicates);
  } catch (error) {
    $("catalogue-error").textContent = error.message;
  }
}

function totals(stats) {
  $("totals").replaceChildren(...Object.entries(TOTALS).map(([name, title]) =>
    make("div", {}, make("dt", { textContent: title }), make("dd", { textContent: number(stats[name] ?? 0) }))));
}

function counts(stats) {
  const groups = Object.entries(GROUPS).filter(([name]) => Object.keys(stats[name] ?? {}).length);
  $("counts").replaceChildren(...groups.map(([name, title]) => {
    const rows = Object.entries(stats[name]).sort(([, one], [, other]) => other - one);
    const most = Math.max(1, ...rows.map(([, count]) => count));
    return make("section", {}, make("h2", { textContent: title }), make("dl", { className: "bars" }, rows.map(([key, count]) => row(name, key, count, most)).flat()));
  }));
}

function row(group, key, count, most) {
  const bar = make("span", { className: "bar", attr: { "aria-hidden": "true" } }, make("span"));
  bar.firstChild.style.width = `${(count / most) * 100}%`;
  const titles = { by_family: about.families ?? {}, by_licence: { ...USES, none: "no commercial use" } };
  return [make("dt", { textContent: titles[group]?.[key] ?? key }), make("dd", {}, make("span", { textContent: number(count) }), bar)];
}

function reject(rejected, all) {
  if (!rejected.length) return $("rejected").replaceChildren(make("p", { className: "quiet", textContent: "Everything could be read." }));
  const rows = rejected.map(({ locator, reason }) => make("li", {}, make("p", { className: "locator", textContent: locator }), make("p", { className: "quiet small", textContent: reason })));
  const left = all - rejected.length;
  return $("rejected").replaceChildren(make("ul", { className: "list" }, rows),
    left > 0 ? make("p", { className: "quiet" }, `and ${number(left)} more: `, make("code", { textContent: "velatura rejected" })) : "");
}

/** Returns a button by an adapter's number, and fills its title in. */
function named(id) {
  const press = button(`no. ${id}`, () => openAdapter(id), { look: "tag" });
  call("GET", `adapters/${id}`).then(({ title, version_name: version }) => {
    press.textContent = version ? `${title} (${version})` : title;
  }, () => {});
  return press;
}

function double(groups) {
  if (!groups.length) return $("duplicates").replaceChildren(make("p", { className: "quiet", textContent: "Nothing is there twice." }));
  const rows = groups.slice(0, GROUPS_SHOWN).map(({ why, adapters }) => make("li", {},
    make("p", { className: "small quiet why", textContent: `${why}: ${many(adapters.length, "adapter")}` }),
    make("div", { className: "row" }, adapters.map((id) => named(id)))));
  const left = groups.length - rows.length;
  return $("duplicates").replaceChildren(make("ul", { className: "list" }, rows),
    left > 0 ? make("p", { className: "quiet" }, `and ${many(left, "more group")}: `, make("code", { textContent: "velatura duplicates" })) : "");
}
