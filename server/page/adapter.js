// All that is known of an adapter, and the sheet in which it and other long things are shown.
import { $, icon, make, number, percent, plain } from "./dom.js";
import { address, call } from "./api.js";

/** Shows something over the page until Esc or the cross. */
export function openSheet(title, ...content) {
  const sheet = $("sheet");
  $("sheet-title").textContent = title;
  $("sheet-body").replaceChildren(...content);
  if (!sheet.open) sheet.showModal();
  $("sheet-body").scrollTop = 0;
}

export function startSheet() {
  const close = $("sheet-close");
  close.append(icon("close"));
  close.setAttribute("aria-label", "close");
  close.addEventListener("click", () => $("sheet").close());
  $("sheet").addEventListener("click", (event) => event.target === $("sheet") && $("sheet").close());
}

/** Shows what the catalogue knows of an adapter. */
export async function openAdapter(id) {
  openSheet("…", make("p", { className: "quiet", textContent: "reading" }));
  try {
    const found = await call("GET", `adapters/${id}`);
    openSheet(found.title || "untitled", ...told(found));
  } catch (error) {
    openSheet("Not shown", make("p", { className: "error", textContent: error.message }));
  }
}

function told(known) {
  const parts = [];
  const { refined } = known;
  if (known.preview) {
    const image = make("img", { className: "sheet-preview", src: address(known.preview), alt: "what it was shown with" });
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 96));
    parts.push(image);
  }
  const text = refined.description ?? known.description;
  if (text) parts.push(make("p", { className: "sheet-text", textContent: text }));
  if (refined.avoid) parts.push(make("p", { className: "sheet-text", textContent: `Not for: ${refined.avoid}` }));
  const licence = known.licence ?? {};
  const rows = {
    Number: known.id,
    Version: known.version_name,
    By: known.creator,
    Base: [known.family, known.base_model].filter(Boolean).join(" · "),
    Kind: [known.kind, known.rank && `rank ${known.rank}`].filter(Boolean).join(", "),
    Category: refined.category,
    ...Object.fromEntries(refined.facets),
    Triggers: (known.triggers ?? []).map((group) => [group].flat().join(", ")).join(" · "),
    Tags: (known.tags ?? []).slice(0, 24).join(", "),
    Weight: weight(refined),
    Licence: [licence.name, licence.commercial && (licence.commercial.length ? `commercial use: ${licence.commercial.join(", ")}` : "no commercial use")].filter(Boolean).join(" · "),
    File: [known.file_name, known.size && `${number(Math.round(known.size / 1024))} kB`].filter(Boolean).join(" · "),
    Downloads: known.downloads && number(known.downloads),
    Published: known.published?.slice(0, 10),
    Notes: known.notes,
    "Strength at 1": known.strength?.relative != null ? `changes the model’s weights by ${percent(known.strength.relative)}` : null,
    Probed: Object.entries(known.probes).map(([family, probe]) => probed(family, probe)).join("; "),
  };
  const list = make("dl", { className: "facts" });
  for (const [name, value] of Object.entries(rows)) {
    if (value === undefined || value === null || value === "") continue;
    list.append(make("dt", { textContent: name }), make("dd", { textContent: String(value) }));
  }
  parts.push(list);
  const examples = (known.examples ?? []).filter((example) => example.prompt).slice(0, 5);
  if (examples.length) {
    parts.push(make("h3", { textContent: "Prompts that it was shown with" }),
      make("ul", { className: "examples" }, examples.map(({ prompt }) => make("li", { textContent: prompt }))));
  }
  return parts;
}

function weight({ weight: advised, evidence }) {
  if (advised === null) return null;
  return evidence ? `${plain(advised)}: ${evidence}` : plain(advised);
}

function probed(family, probe) {
  return [`on ${family}`, probe.best !== null && `best at ${plain(probe.best)}`, ...probe.flags].filter(Boolean).join(", ");
}

/** Returns a bar with its share in words. */
export function shareBar(share) {
  const bar = make("span", { className: "bar", attr: { "aria-hidden": "true" } }, make("span"));
  bar.firstChild.style.width = `${share * 100}%`;
  return bar;
}
