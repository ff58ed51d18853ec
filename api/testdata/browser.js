// As much of a browser as the page at /docs needs: runs it over an OpenAPI document and prints what it would show.
// Usage: node browser.js page.js openapi.json
"use strict";
const fs = require("fs");

class Element {
  constructor(tag) { Object.assign(this, { tag, children: [], attributes: {} }); }
  setAttribute(name, value) { this.attributes[name] = value; }
  append(...children) { this.children.push(...children.map((c) => (c instanceof Element ? c : String(c)))); }
  replaceChildren(...children) { this.children = []; this.append(...children); }
  text() { return this.children.map((c) => (c instanceof Element ? c.text() : c)).join(" "); }
}

const parts = { main: new Element("main"), list: new Element("nav") };
const [page, document_] = process.argv.slice(2).map((file) => fs.readFileSync(file, "utf8"));
global.document = { createElement: (tag) => new Element(tag), getElementById: (id) => parts[id], title: "" };
global.location = { origin: "http://127.0.0.1:8080" };
global.fetch = async () => ({ json: async () => JSON.parse(document_) });
(0, eval)(page);
setTimeout(() => console.log(document.title + "\n" + parts.list.text() + "\n" + parts.main.text()), 50);
