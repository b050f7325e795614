"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const [main, back, next, hint, zoom] = ["main", "back", "next", "hint", "zoom"].map(at);
  const bottom = document.querySelector("footer");
  const store = "survey-" + data.survey;
  let keeps = true;
  let state = null;
  let since = null; // when the task on the screen was last seen to come into view
  let group = 0; // the group that the next digit rates

  // ---------------------------------------------------------------- what is kept on this device

  function load() {
    try {
      const kept = JSON.parse(localStorage.getItem(store));
      if (sound(kept)) return kept;
    } catch (error) {
      keeps = false;
    }
    return null;
  }

  // What is kept may be of another version, or of whoever else writes to this device's storage.
  function sound(kept) {
    if (!kept || typeof kept.rater !== "string" || !has(data.forms, kept.form)) return false;
    const all = data.forms[kept.form];
    const within = (place) => Number.isInteger(place) && place >= 0 && place <= all.length;
    if (!within(kept.place) || !within(kept.seen) || !kept.answers || typeof kept.answers !== "object") return false;
    return all.every((of) => !has(kept.answers, of.id) || fits(of, kept.answers[of.id]));
  }

  function fits(of, held) {
    const many = of.groups.length;
    if (!held || !Array.isArray(held.tags) || held.tags.length !== many || !held.tags.every(Array.isArray)) return false;
    if (!Number.isFinite(held.seconds)) return false;
    if (data.questions[of.question].kind !== "choice") return Array.isArray(held.value) && held.value.length === many && held.value.every(Number.isInteger);
    return held.value === null || held.value === "tie" || (Number.isInteger(held.value) && held.value >= 0 && held.value < many);
  }

  function has(held, name) {
    return typeof name === "string" && Object.hasOwn(held, name);
  }

  function save() {
    try {
      localStorage.setItem(store, JSON.stringify(state));
    } catch (error) {
      keeps = false;
    }
  }

  function forget() {
    try {
      localStorage.removeItem(store);
    } catch (error) {
      keeps = false;
    }
    state = null;
  }

  function lot(most) {
    return crypto.getRandomValues(new Uint32Array(1))[0] % most;
  }

  // ---------------------------------------------------------------- elements; text is never read as HTML

  function make(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "class") made.className = value;
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value != null) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child != null));
    return made;
  }

  function picture(id, told) {
    const [width, height] = data.size;
    const reference = data.references.includes(id);
    const image = make("img", { alt: told, width: reference ? null : width, height: reference ? null : height });
    image.src = data.pictures[id];
    return make("button", { type: "button", "aria-label": told + ", enlarge", onclick: () => enlarge(id, told) }, image);
  }

  function pictures(ids, told) {
    const each = ids.map((id, number) => picture(id, ids.length > 1 ? `${told}, picture ${number + 1}` : told));
    return make("div", { class: "pictures" + (data.magnified ? " magnified" : "") }, ...each);
  }

  function enlarge(id, told) {
    const image = zoom.querySelector("img");
    image.src = data.pictures[id];
    image.alt = told;
    zoom.classList.toggle("magnified", data.magnified);
    zoom.showModal();
  }

  function screen(heading, ...children) {
    const title = make("h1", { tabindex: "-1" }, heading);
    main.replaceChildren(title, ...children.filter((child) => child != null));
    scrollTo(0, 0);
    title.focus({ preventScroll: true });
  }

  // ---------------------------------------------------------------- tasks

  const tasks = () => data.forms[state.form];
  const task = () => tasks()[state.place];
  const question = (of) => data.questions[of.question];
  const name = (of) => (question(of).grid ? "Group" : "Picture");
  const answer = (of) => (state.answers[of.id] ||= { value: empty(of), seconds: 0, tags: of.groups.map(() => []) });
  const empty = (of) => (question(of).kind === "choice" ? null : of.groups.map(() => 0));

  function complete(of) {
    const held = state.answers[of.id];
    if (!held) return false;
    return question(of).kind === "choice" ? held.value !== null : held.value.every((number) => number > 0);
  }

  // What was asked before the description was shown cannot be answered knowing it.
  function locked(place) {
    const all = tasks();
    const of = all[place];
    if (of.prompt !== undefined) return false;
    return all.some((other, number) => number > place && number <= state.seen && other.set === of.set && other.prompt !== undefined);
  }

  function count() {
    if (since !== null && state && task() && !locked(state.place)) answer(task()).seconds += (performance.now() - since) / 1000;
    since = document.hidden ? null : performance.now();
  }

  function show() {
    const of = task();
    const asked = question(of);
    const held = answer(of);
    state.seen = Math.max(state.seen, state.place);
    const is_locked = locked(state.place);
    group = 0;
    const cards = of.groups.map((ids, place) => card(of, ids, place));
    if (asked.kind === "choice" && asked.ties) cards.push(pick(of, "tie", "No difference", "pick tie"));
    screen(
      asked.text,
      of.prompt === undefined ? null : make("blockquote", {}, of.prompt),
      asked.references ? make("div", { class: "references" }, make("h2", {}, "Reference pictures"), pictures(data.references, "Reference")) : null,
      make(
        "fieldset",
        {
          class: "groups" + (asked.grid ? "" : " single") + (of.groups.length > 2 ? " many" : ""),
          disabled: is_locked,
          "aria-label": asked.text,
        },
        ...cards
      ),
      is_locked ? make("p", { class: "quiet" }, "The description has been shown since, so this answer stays as it is.") : null
    );
    bottom.hidden = false;
    next.textContent = state.place + 1 < tasks().length ? "Next" : "Finish";
    refresh();
    progress(state.place, tasks().length);
    since = document.hidden ? null : performance.now();
    save();
    return held;
  }

  function card(of, ids, place) {
    const asked = question(of);
    const told = `${name(of)} ${place + 1}`;
    const parts = [make("h2", {}, told), pictures(ids, told)];
    if (asked.kind === "choice") parts.push(pick(of, place, told, "pick"));
    if (asked.kind === "rating") parts.push(rates(of, place, told));
    if (asked.kind === "ranking") {
      parts.push(make("button", { type: "button", class: "rank", onclick: () => rank(of, place) }));
    }
    if (asked.tags.length) parts.push(tags(of, place));
    return make("section", { class: "group", "aria-label": told, onfocusin: () => ((group = place), refresh()) }, ...parts);
  }

  function pick(of, value, told, style) {
    const input = make("input", { type: "radio", name: "choice", value: String(value), onchange: () => set(of, value) });
    input.checked = answer(of).value === value;
    return make("label", { class: style }, input, told);
  }

  function rates(of, place, told) {
    const [low, high] = question(of).ends;
    const labels = [1, 2, 3, 4, 5].map((number) => {
      const end = number === 1 ? low : number === 5 ? high : "";
      const input = make("input", {
        type: "radio", name: `rating${place}`, value: String(number), "aria-label": end ? `${number}, ${end}` : number,
        onchange: () => rate(of, place, number),
      });
      input.checked = answer(of).value[place] === number;
      return make("label", {}, input, String(number));
    });
    const ends = make("div", { class: "ends", "aria-hidden": "true" }, make("span", {}, "1 = " + low), make("span", {}, "5 = " + high));
    return make("div", {}, make("fieldset", { class: "rates", "aria-label": `${told}, from 1 to 5` }, ...labels), ends);
  }

  function tags(of, place) {
    const boxes = question(of).tags.map((tag) => {
      const box = make("input", { type: "checkbox", onchange: () => tick(of, place, tag, box.checked) });
      box.checked = answer(of).tags[place].includes(tag);
      return make("label", {}, box, data.failures[tag]);
    });
    const opened = answer(of).tags[place].length > 0;
    return make("details", { open: opened }, make("summary", {}, "Flaws (optional)"), ...boxes);
  }

  function set(of, value) {
    answer(of).value = value;
    changed();
  }

  function rate(of, place, number) {
    answer(of).value[place] = number;
    changed();
  }

  function rank(of, place) {
    const ranks = answer(of).value;
    if (ranks[place]) {
      const gone = ranks[place];
      answer(of).value = ranks.map((number, other) => (other === place ? 0 : number > gone ? number - 1 : number));
    } else {
      ranks[place] = Math.max(...ranks) + 1;
    }
    changed();
  }

  function tick(of, place, tag, is_on) {
    const held = answer(of).tags[place].filter((other) => other !== tag);
    answer(of).tags[place] = is_on ? [...held, tag] : held;
    save();
  }

  function changed() {
    refresh();
    save();
  }

  const ordinal = (number) => ["1st", "2nd", "3rd"][number - 1] || `${number}th`;

  function refresh() {
    const of = task();
    const asked = question(of);
    const value = answer(of).value;
    main.querySelectorAll(".group").forEach((shown, place) => {
      shown.classList.toggle("chosen", asked.kind === "choice" && value === place);
      shown.classList.toggle("current", asked.kind === "rating" && group === place);
      const button = shown.querySelector(".rank");
      if (button) {
        const number = value[place];
        const told = number ? ordinal(number) + (number === 1 ? ", the best" : "") : `Rank ${ordinal(Math.max(...value) + 1)}`;
        button.textContent = told;
        button.setAttribute("aria-pressed", String(number > 0));
        button.setAttribute("aria-label", `${name(of)} ${place + 1}: ${told}`);
      }
    });
    main.querySelectorAll("input[type=radio]").forEach((input) => {
      if (input.name === "choice") input.checked = String(value) === input.value;
      else input.checked = String(value[Number(input.name.slice(6))]) === input.value;
    });
    back.disabled = state.place === 0;
    next.setAttribute("aria-disabled", String(!complete(of)));
    hint.textContent = "";
    at("keyboard").replaceChildren(...(state.keys ? help(of) : []));
  }

  function help(of) {
    const asked = question(of);
    const key = (told) => make("kbd", {}, told);
    const many = of.groups.length;
    const parts = { choice: "choose", rating: "rate the framed group", ranking: "rank, best first" }[asked.kind];
    const digits = asked.kind === "rating" ? 5 : many;
    const told = [key("1"), "–", key(String(digits)), ` ${parts}  `];
    if (asked.ties) told.push(key("0"), " no difference  ");
    return [...told, key("Enter"), " next  ", key("B"), " back"];
  }

  function progress(done, whole) {
    const share = whole ? Math.round((100 * done) / whole) : 0;
    at("bar").setAttribute("aria-valuenow", String(share));
    at("bar").firstElementChild.style.setProperty("width", share + "%");
    at("count").textContent = whole ? (done < whole ? `${done + 1} of ${whole}` : `${whole} of ${whole}`) : "";
  }

  function forward() {
    if (!complete(task())) {
      const kind = question(task()).kind;
      hint.textContent = kind === "choice" ? "Please choose one." : kind === "rating" ? "Please rate every group." : "Please rank them all.";
      return;
    }
    count();
    state.place += 1;
    if (state.place < tasks().length) show();
    else finish();
  }

  function backward() {
    if (state.place === 0) return;
    if (state.place < tasks().length) count();
    state.place -= 1;
    show();
  }

  // ---------------------------------------------------------------- first and last screens

  function hashed() {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch (error) {
      return ""; // a half of a percent code, as messengers leave it
    }
  }

  function start() {
    bottom.hidden = true;
    progress(0, 0);
    const forms = Object.keys(data.forms);
    const asked = hashed();
    const code = make("input", { type: "text", id: "code", maxlength: "64", autocomplete: "off", spellcheck: "false" });
    const choice = make(
      "select", { id: "form" },
      make("option", { value: "" }, "None: draw one for me"),
      ...forms.map((form) => make("option", { value: form }, form))
    );
    if (has(data.forms, asked)) choice.value = asked;
    const keys = make("input", { type: "checkbox", id: "keys" });
    keys.checked = true;
    const problem = make("p", { role: "alert" });
    screen(
      data.title,
      make("p", {}, data.introduction),
      make("p", { class: "quiet" }, "Nothing is sent anywhere. Your answers stay on this device; at the end you get a file to hand in. Select a picture to enlarge it. You can go back, and close the page and go on later."),
      make("label", { class: "field" }, "Your code, if you were given one (please no name)", code),
      forms.length > 1 ? make("label", { class: "field" }, "The number of your form, if you were given one", choice) : null,
      make("label", { class: "field keys" }, keys, " Answer with keys as well"),
      problem,
      make("button", {
        type: "button", class: "main",
        onclick: () => {
          const said = code.value.trim();
          if (said && !/^[\p{L}\p{N}_.@+-][\p{L}\p{N}_ .@+-]*$/u.test(said)) {
            problem.textContent = "Please use letters, digits, points and hyphens in the code only.";
            return;
          }
          begin(said, choice.value || forms[lot(forms.length)], keys.checked);
        },
      }, "Start")
    );
  }

  function begin(code, form, keys) {
    const drawn = Array.from({ length: 12 }, () => lot(16).toString(16)).join("");
    state = { rater: code || "r-" + drawn, form, keys, place: 0, seen: 0, answers: {}, comment: "" };
    save();
    if (data.references.length) look();
    else show();
  }

  function look() {
    bottom.hidden = true;
    screen(
      "Look at these reference pictures first",
      make("div", { class: "references" }, pictures(data.references, "Reference")),
      make("button", { type: "button", class: "main", onclick: show }, "Go on")
    );
  }

  function finish() {
    since = null;
    save();
    bottom.hidden = true;
    progress(tasks().length, tasks().length);
    const comment = make("textarea", { maxlength: "2000", rows: "3", onchange: () => ((state.comment = comment.value), save(), (file.value = result())) });
    comment.value = state.comment;
    const file = make("textarea", { class: "file", readonly: true, "aria-label": "Your answers as text", onfocus: () => file.select() });
    file.value = result();
    screen(
      "Thank you. One last step: save your answers",
      make("label", { class: "field" }, "Anything you want to add? (optional)", comment),
      make("p", {}, "Save the file and give it to whoever asked you to take part."),
      make("button", { type: "button", class: "main", id: "save", onclick: () => { state.comment = comment.value; file.value = result(); download(); } }, "Save my answers"),
      make("details", {}, make("summary", {}, "If no file can be saved here"), make("p", { class: "quiet" }, "Copy this text and send it instead."), file),
      make("p", {},
        make("button", { type: "button", onclick: backward }, "Back to the last question"), " ",
        make("button", { type: "button", onclick: () => { if (confirm("Have the answers been saved? They are deleted from this page.")) { forget(); start(); } } }, "Another person answers")),
      keeps ? null : make("p", { role: "alert" }, "This browser keeps nothing: save the file before you close the page.")
    );
  }

  function result() {
    const answers = tasks().filter(complete).map((of) => {
      const held = state.answers[of.id];
      return { task: of.id, value: held.value, seconds: Math.round(held.seconds * 1000) / 1000, tags: held.tags };
    });
    const told = { velatura_survey: 1, survey: data.survey, rater: state.rater, form: state.form, answers, comment: state.comment };
    return JSON.stringify(told, null, 1);
  }

  function download() {
    const link = make("a", { download: `answers-${data.survey.slice(0, 8)}-${state.form}-${state.rater.replace(/[^\w-]/g, "_")}.json` });
    link.href = URL.createObjectURL(new Blob([result()], { type: "application/json" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // ---------------------------------------------------------------- keys

  function press(event) {
    if (!state || !state.keys || bottom.hidden || zoom.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target.matches("textarea, select, input[type=text]")) return;
    if (event.key === "Enter" && !target.matches("button, summary")) {
      event.preventDefault();
      forward();
    } else if (event.key === "b" || event.key === "B") {
      backward();
    } else if (/^[0-9]$/.test(event.key) && !locked(state.place)) {
      digit(Number(event.key));
    }
  }

  function digit(number) {
    const of = task();
    const asked = question(of);
    const many = of.groups.length;
    if (asked.kind === "choice") {
      if (number === 0 && asked.ties) set(of, "tie");
      else if (number >= 1 && number <= many) set(of, number - 1);
    } else if (asked.kind === "ranking") {
      if (number >= 1 && number <= many) rank(of, number - 1);
    } else if (number >= 1 && number <= 5) {
      const place = group;
      group = Math.min(place + 1, many - 1);
      rate(of, place, number);
    }
  }

  back.addEventListener("click", backward);
  next.addEventListener("click", forward);
  document.addEventListener("keydown", press);
  document.addEventListener("visibilitychange", () => {
    if (state && !bottom.hidden) count();
    if (state && !bottom.hidden) save();
  });
  addEventListener("pagehide", () => {
    if (state && !bottom.hidden) {
      count();
      save();
    }
  });
  zoom.querySelector("button").addEventListener("click", () => zoom.close());
  zoom.addEventListener("click", (event) => event.target === zoom && zoom.close());

  at("title").textContent = data.title;
  state = load();
  if (!state) start();
  else if (state.place < tasks().length) show();
  else finish();
})();
