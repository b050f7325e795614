// The Compare page: one prompt from the same noise, without adapters, with them, with each alone, over their weights.
import { $, make } from "./dom.js";
import { call } from "./api.js";
import { composition } from "./compose.js";
import { sent } from "./composition.js";
import { JobView } from "./job.js";
import { figure } from "./picture.js";
import { rename } from "./router.js";

let about = {};
const value = (id) => ($(id).value.trim() === "" ? null : Number($(id).value));

/** A job whose pictures stand in the panels of a comparison; one picture may stand in several. */
class ComparisonView extends JobView {
  draw(job) {
    this.panels ??= new Map();
    for (const picture of job.pictures) {
      const key = `${picture.panel}\n${picture.label}`;
      if (this.figures.has(key)) continue;
      const node = figure(picture, () => this.job);
      node.dataset.order = order(picture, this.panels.size === 0 || this.panels.keys().next().value === picture.panel);
      this.figures.set(key, node);
      const row = this.rowOf(picture.panel);
      row.insertBefore(node, [...row.children].find((other) => Number(other.dataset.order) > Number(node.dataset.order)) ?? null);
    }
  }

  rowOf(panel) {
    if (!this.panels.has(panel)) {
      const row = make("div", { className: "pictures row-of" });
      this.panels.set(panel, row);
      this.pictures.append(make("section", { className: "panel-of" }, make("h4", { textContent: panel }), row));
    }
    return this.panels.get(panel);
  }
}

/** Where a picture stands in its panel: the first has them as they were painted, the others by weight. */
function order(picture, isFirst) {
  return isFirst ? picture.place : picture.choices.reduce((sum, { weight }) => sum + weight, 0);
}

export function startCompare(told) {
  about = told;
  $("compare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    compare();
  });
  $("compare-prompt").addEventListener("input", tellWith);
  $("compare-prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("compare-form").requestSubmit();
    }
  });
  tellComparer();
}

/** Says where nothing can be painted, and why. */
export function tellComparer() {
  $("compare-go").disabled = !about.painter;
  if (!about.painter) $("compare-error").textContent = about.trouble ?? "This server was started without a checkpoint, and paints nothing.";
}

export function openCompare(params) {
  const prompt = params.get("prompt") ?? ($("compare-prompt").value || composition?.prompt || "");
  $("compare-prompt").value = prompt;
  tellWith();
}

const chosen = () => (composition?.prompt === $("compare-prompt").value.trim() ? composition : null);

function tellWith() {
  const own = chosen();
  $("compare-with").textContent = own === null
    ? "The adapters are chosen for the prompt."
    : own.choices.length ? `With what stands on the Compose page: ${own.choices.map(({ title, weight }) => `${title} ${Math.round(weight * 100) / 100}`).join(", ")}.`
      : "The Compose page lays no adapter on this prompt.";
}

async function compare() {
  const prompt = $("compare-prompt").value.trim();
  $("compare-error").textContent = "";
  if (!prompt) {
    $("compare-error").textContent = "Write a prompt first.";
    return;
  }
  const sweep = $("compare-sweep").value.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (sweep.some((weight) => !Number.isFinite(weight))) {
    $("compare-error").textContent = "The weights to try are numbers with spaces between them, such as 0.4 0.8 1.2.";
    return;
  }
  rename("compare", { prompt });
  const own = chosen();
  const asked = {
    ...(own ? { composition: sent(own) } : { prompt }), seed: value("compare-seed") ?? 0, sweep,
    steps: value("compare-steps"), guidance: value("compare-guidance"),
  };
  $("compare-go").disabled = true;
  try {
    const { job } = await call("POST", "compare", Object.fromEntries(Object.entries(asked).filter(([, told]) => told !== null)));
    const view = new ComparisonView(job);
    $("compared").prepend(view.node);
    view.node.scrollIntoView({ block: "nearest" });
  } catch (error) {
    $("compare-error").textContent = error.message;
  } finally {
    $("compare-go").disabled = !about.painter;
  }
}
