// One chosen adapter: what it is, why it was taken, how strongly it is laid on.
import { button, icon, make, plain } from "./dom.js";
import { hue, meta } from "./composition.js";
import { openAdapter } from "./adapter.js";
import { address } from "./api.js";

/** Returns an adapter's picture, or its initials where there is none. */
export function thumbnail(adapter) {
  const bare = make("span", { className: "thumb initials", attr: { "aria-hidden": "true" }, textContent: initials(adapter.title) });
  if (!adapter.preview) return bare;
  const image = make("img", { className: "thumb", src: address(adapter.preview), alt: "", loading: "lazy", width: 64, height: 64 });
  image.addEventListener("error", () => image.replaceWith(bare));
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 96));
  return image;
}

function initials(title) {
  const words = title.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

/** Returns a title that opens what is known of an adapter. */
export function titled(adapter) {
  const title = adapter.title || adapter.file_name || "untitled";
  if (adapter.id === null || adapter.id === undefined) return make("span", { className: "card-title", textContent: title });
  return button(title, () => openAdapter(adapter.id), { look: "card-title" });
}

/** Returns a link to an adapter's own page; nothing else than http may stand in it. */
export function pageOf(adapter) {
  if (!/^https?:\/\//.test(adapter.page ?? "")) return null;
  return make("a", {
    className: "button plain square", href: adapter.page, target: "_blank", rel: "noopener noreferrer", title: "its page",
    attr: { "aria-label": `the page of ${adapter.title}` },
  }, icon("out"));
}

/** Returns the card of a choice.
 *
 * `change` has: `weigh(weight)` while a weight moves, `lock(isLocked)`, `ban()`, `isLocked`, `families`, `laid`.
 */
export function card(choice, place, change) {
  const usual = choice.advised ?? choice.weight;
  const least = Math.min(0, Math.floor(choice.weight));
  const most = Math.max(2, Math.ceil(Math.abs(choice.weight) * 1.25));
  const slider = make("input", {
    type: "range", className: "slider", min: least, max: most, step: 0.05, value: choice.weight,
    attr: { "aria-label": `weight of ${choice.title}`, "aria-valuetext": spoken(choice.weight) },
  });
  const box = make("input", {
    type: "number", className: "weight", min: -10, max: 10, step: 0.05, value: plain(choice.weight), inputMode: "decimal",
    attr: { "aria-label": `weight of ${choice.title}, as a number` },
  });
  const lock = button("", () => setLock(!isLocked), { sign: "open", look: "plain lock" });
  let isLocked = change.isLocked;
  const shown = () => {
    const label = isLocked ? `${choice.title} stays at this weight; let go` : `keep ${choice.title} at this weight`;
    lock.replaceChildren(icon(isLocked ? "lock" : "open"));
    lock.setAttribute("aria-pressed", String(isLocked));
    lock.setAttribute("aria-label", label);
    lock.title = label;
  };
  const setLock = (locked) => {
    isLocked = locked;
    shown();
    change.lock(locked);
  };
  const weigh = (value, from) => {
    if (!Number.isFinite(value) || Math.abs(value) > 10) return;
    choice.weight = value;
    if (from !== slider) {
      if (value < Number(slider.min)) slider.min = Math.floor(value);
      if (value > Number(slider.max)) slider.max = Math.ceil(value);
      slider.value = value;
    }
    if (from !== box) box.value = plain(value);
    slider.setAttribute("aria-valuetext", spoken(value));
    isLocked = true;
    shown();
    change.weigh(value);
  };
  slider.addEventListener("input", () => weigh(Number(slider.value), slider));
  box.addEventListener("input", () => box.value !== "" && weigh(Number(box.value), box));
  shown();
  const triggers = (choice.triggers ?? []).map((trigger) => make("code", { textContent: trigger }));
  return make("li", { className: `card ${hue(place)}`, data: { place } },
    make("div", { className: "card-head" },
      thumbnail(choice),
      make("div", { className: "card-name" }, titled(choice),
        make("p", { className: "quiet small", textContent: meta(choice, change.families) }),
        choice.span && make("p", { className: "small span" }, choice.span.startsWith("<") ? "pinned in the prompt" : ["for ", make("span", { className: "under", textContent: choice.span })])),
      make("div", { className: "card-tools" }, lock,
        button(`never take ${choice.title}`, change.ban, { sign: "ban" }), pageOf(choice))),
    make("div", { className: "weigh" }, slider, box,
      button(`the advised weight, ${plain(usual)}`, () => weigh(usual, null), { sign: "reset" })),
    make("p", { className: "quiet small range" }, `${plain(least)} to ${plain(most)}`,
      choice.advised !== undefined && ` · ${plain(choice.advised)} if it were alone`,
      choice.sure !== undefined && ` · ${Math.round(choice.sure * 100)} % sure that it is meant`),
    choice.reason && make("p", { className: "reason", textContent: choice.reason }),
    triggers.length > 0 && make("p", { className: "triggers small" }, make("span", { className: "quiet", textContent: "adds" }), triggers));
}

const spoken = (weight) => (weight === 0 ? "0, not laid on" : plain(weight));
