// Shows the OpenAPI document: every operation with its parameters, bodies and answers, and a curl line to try.
"use strict";

// el makes an element; strings among the children become text, so nothing of the document is taken for HTML.
function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) e.setAttribute(name, value);
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined));
  return e;
}

function resolve(api, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((o, key) => o && o[key], api) || {};
}

function typeOf(api, schema) {
  const s = resolve(api, schema);
  const types = [].concat(s.type || "any");
  let text = types.join(" or ");
  if (types.includes("array")) text = "list of " + typeOf(api, s.items);
  if (s.format) text += " (" + s.format + ")";
  if (s.enum) text = s.enum.map((v) => JSON.stringify(v)).join(", ");
  return text;
}

function limits(s) {
  return ["minimum", "maximum", "minLength", "maxLength", "pattern", "default"].filter((k) => s[k] !== undefined).map((k) => k + " " + s[k]).join(", ");
}

// example makes a value of a schema.
function example(api, schema, depth) {
  const s = resolve(api, schema);
  if (s.examples && s.examples.length) return s.examples[0];
  if (s.example !== undefined) return s.example;
  if (s.default !== undefined) return s.default;
  if (s.enum) return s.enum[0];
  const type = [].concat(s.type)[0];
  if (type === "object") {
    const o = {};
    for (const [name, p] of Object.entries(s.properties || {})) {
      const told = (s.required || []).includes(name) || (resolve(api, p).examples || []).length;
      if (told && depth < 6) o[name] = example(api, p, depth + 1);
    }
    return o;
  }
  if (type === "array") return depth < 6 ? [example(api, s.items, depth + 1)] : [];
  return { integer: 1, number: 1.5, boolean: false, string: "text" }[type] ?? null;
}

function fields(api, schema, prefix, rows, depth) {
  const s = resolve(api, schema);
  if ([].concat(s.type).includes("array")) return fields(api, s.items, prefix + "[]", rows, depth);
  for (const [name, p] of Object.entries(s.properties || {})) {
    const r = resolve(api, p);
    const required = (s.required || []).includes(name);
    rows.push(el("tr", {}, el("td", {}, el("code", {}, prefix + name)), el("td", {}, typeOf(api, p), required ? "" : el("span", { class: "dim" }, " optional")),
      el("td", {}, p.description || r.description || "", " ", el("span", { class: "dim" }, limits({ ...r, ...p })))));
    if (depth < 4) fields(api, p, prefix + name + ".", rows, depth + 1);
  }
  return rows;
}

function table(rows) {
  return rows.length ? el("table", {}, el("tbody", {}, rows)) : null;
}

function body(api, content) {
  for (const [type, media] of Object.entries(content || {})) {
    return [el("p", { class: "dim" }, type), table(fields(api, media.schema, "", [], 0))];
  }
  return [];
}

function curl(api, method, path, op) {
  const at = location.origin + path.replace(/{([^}]+)}/g, (_, name) => {
    const p = (op.parameters || []).find((q) => q.in === "path" && q.name === name);
    return (p && (p.example || ((p.schema || {}).examples || [])[0])) || name.toUpperCase();
  });
  const json = ((op.requestBody || {}).content || {})["application/json"];
  let line = "curl ";
  if (api.security) line += '-H "Authorization: Bearer $TOKEN" ';
  if (json) line += "--json '" + JSON.stringify(example(api, json.schema, 0)) + "' ";
  else if (method !== "get") line += "-X " + method.toUpperCase() + " ";
  return line + at;
}

function operation(api, method, path, op) {
  const id = method + path;
  const parameters = (op.parameters || []).map((p) => el("tr", {}, el("td", {}, el("code", {}, p.name)), el("td", {}, p.in, " ", el("span", { class: "dim" }, typeOf(api, p.schema))),
    el("td", {}, p.description || "", " ", el("span", { class: "dim" }, limits(p.schema || {})))));
  const answers = Object.entries(op.responses || {}).map(([status, r]) => [el("h4", {}, status + " ", el("span", { class: "dim" }, r.description || "")), body(api, r.content)]);
  return el("section", { id }, el("h2", {}, el("span", { class: "method " + method }, method.toUpperCase()), " ", el("code", {}, path)),
    el("p", {}, op.summary || ""), op.description ? el("p", {}, op.description) : null,
    el("pre", {}, curl(api, method, path, op)),
    parameters.length ? [el("h3", {}, "Parameters"), table(parameters)] : null,
    op.requestBody ? [el("h3", {}, "Body"), body(api, op.requestBody.content)] : null,
    el("h3", {}, "Answers"), answers);
}

function show(api) {
  document.title = api.info.title;
  const main = document.getElementById("main");
  const list = document.getElementById("list");
  main.replaceChildren(el("h1", {}, api.info.title + " ", el("span", { class: "dim" }, api.info.version)),
    ...(api.info.description || "").split("\n\n").map((p) => el("p", {}, p)), el("p", {}, el("a", { href: "/openapi.json" }, "/openapi.json")));
  for (const [path, methods] of Object.entries(api.paths || {}).sort()) {
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      if (!methods[method]) continue;
      list.append(el("a", { href: "#" + method + path }, el("span", { class: "method " + method }, method.toUpperCase()), " ", path));
      main.append(operation(api, method, path, methods[method]));
    }
  }
}

fetch("/openapi.json").then((r) => r.json()).then(show).catch((e) => {
  document.getElementById("main").replaceChildren(el("p", {}, "Could not read /openapi.json: " + e));
});
