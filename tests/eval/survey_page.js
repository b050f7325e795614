// Runs the survey's page in Node without a browser: node survey_page.js PAGE HASH STORED; prints what it comes to.
"use strict";
const fs = require("fs");
const [path, hash, stored] = process.argv.slice(2);
const html = fs.readFileSync(path, "utf8");
const data = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)[1];
const code = /<script>([^]*?)<\/script>/.exec(html)[1];

class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], style: { setProperty() {} }, classList: { toggle() {} }, value: "" });
  }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  querySelector(selector) { return selector === ".rank" ? null : new Element(selector); }
  querySelectorAll() { return []; }
  get firstElementChild() { return new Element("div"); }
  setAttribute() {}
  addEventListener() {}
  focus() {}
}

const elements = {};
const made = [];
const at = (id) => (elements[id] ||= new Element(id));
at("data").textContent = data;
const globals = {
  document: {
    hidden: false,
    getElementById: at,
    querySelector: at,
    createElement: (tag) => (made.push(new Element(tag)), made.at(-1)),
    addEventListener() {},
  },
  localStorage: { getItem: () => stored || null, setItem() {}, removeItem() {} },
  location: { hash },
  addEventListener() {},
  scrollTo() {},
};
new Function(...Object.keys(globals), code)(...Object.values(globals));
const select = made.find((element) => element.tag === "select");
process.stdout.write(JSON.stringify({ starts: Boolean(select), form: select ? select.value : null }));
