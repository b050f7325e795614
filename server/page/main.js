// Puts the page together when the server has said what it is.
import { $, icon, make, number } from "./dom.js";
import { startSheet } from "./adapter.js";
import { call } from "./api.js";
import { openCatalogue, startCatalogue } from "./catalogue.js";
import { openCompare, startCompare, tellComparer } from "./compare.js";
import { openCompose, startCompose } from "./compose.js";
import { USES } from "./licence.js";
import { recall, remember } from "./memory.js";
import { onReturn, tell } from "./notice.js";
import { openPaint, startPaint, tellPainter, wantedMasks } from "./paint.js";
import { start } from "./router.js";
import { openSearch, startSearch } from "./search.js";

const THEMES = ["auto", "light", "dark"];

function theme() {
  const press = $("theme");
  const wear = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    press.replaceChildren(icon(name));
    press.title = `theme: ${name === "auto" ? "the system’s" : name}`;
    press.setAttribute("aria-label", press.title);
  };
  let worn = THEMES.includes(recall("theme", "auto")) ? recall("theme", "auto") : "auto";
  wear(worn);
  press.addEventListener("click", () => {
    worn = THEMES[(THEMES.indexOf(worn) + 1) % THEMES.length];
    remember("theme", worn);
    wear(worn);
  });
}

function tellAbout(about) {
  const { gates = {} } = about;
  const kept = [
    gates.nsfw !== null && gates.nsfw !== undefined && "kept to some ratings",
    gates.commercial && `only licences by which ${USES[gates.commercial] ?? gates.commercial}`,
    gates.real_people === false && "no real persons",
  ].filter(Boolean);
  const parts = [`Velatura ${about.version}`, `${number(about.adapters)} adapters, ${number(about.installed)} on the server`,
    about.loading ? `${about.model} is being loaded …` : about.model ?? "no checkpoint", about.composer && `chosen by ${about.composer}`, ...kept].filter(Boolean);
  $("about").replaceChildren(...parts.map((part) => make("span", { textContent: part })));
  tell("empty", about.adapters ? null : "The catalogue is empty. Index a folder of adapters first:", "velatura index FOLDER");
}

const PATIENCE = 1500; // milliseconds before it is said that the server is still opening its catalogue

/** Waits until the checkpoint is loaded, and tells the pages what paints. A server or a proxy that does not wait so long is asked again. */
async function whenLoaded(about) {
  while (about.loading) {
    try {
      Object.assign(about, await call("GET", "about"));
    } catch {
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
  tellAbout(about);
  tellPainter();
  tellComparer();
  if (!about.painter) dispatchEvent(new Event("hashchange")); // what was chosen for painting is chosen for looking at
}

async function open() {
  let about;
  const opening = setTimeout(() => tell("opening", "The server is opening its catalogue …"), PATIENCE);
  try {
    about = await call("GET", "about?wait=false");
  } catch (error) {
    tell("failed", error.status === 0 ? null : error.message);
    return false;
  } finally {
    clearTimeout(opening);
    tell("opening", null);
  }
  tell("failed", null);
  about.painter ||= about.loading; // until it is known, what is asked for waits
  tellAbout(about);
  startCompose(about, wantedMasks);
  startPaint(about);
  startSearch(about);
  startCompare(about);
  startCatalogue(about);
  start({
    compose: (params) => { openCompose(params); openPaint(); },
    search: openSearch, compare: openCompare, catalogue: openCatalogue,
  });
  document.documentElement.dataset.ready = "yes";
  if (about.loading) whenLoaded(about);
  return true;
}

theme();
startSheet();
let isOpen = await open();
onReturn(async () => { isOpen ||= await open(); });
