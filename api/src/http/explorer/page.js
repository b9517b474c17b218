// The explorer: asks, follows, and shows the schema. Nothing is kept when the page is left.
"use strict";

const at = (id) => document.getElementById(id);
let types = null;
let running = null;

function headers() {
  const all = { "Content-Type": "application/json", Accept: "application/json" };
  if (at("token").value.trim()) all.Authorization = "Bearer " + at("token").value.trim();
  if (at("purpose").value.trim()) all["X-Purpose"] = at("purpose").value.trim();
  return all;
}

async function ask(body) {
  const answer = await fetch("graphql", { method: "POST", headers: headers(), body: JSON.stringify(body) });
  return { answer, body: await answer.json() };
}

function show(value) {
  at("answer").textContent = typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function asked() {
  const variables = at("variables").value.trim();
  return { query: at("query").value, variables: variables ? JSON.parse(variables) : {} };
}

// The disclosure of an answer in words: what of it was clear, masked, withheld.
function disclosed(body) {
  const all = (body.extensions && body.extensions.disclosure) || [];
  return all.map((one) => `${one.field}: ${["clear", "masked", "withheld"].filter((how) => one[how]).map((how) => `${one[how]} ${how}`).join(", ")}`).join(" · ");
}

async function run() {
  let body;
  try {
    body = asked();
  } catch (problem) {
    at("state").textContent = "The variables are not JSON.";
    return;
  }
  at("state").textContent = "…";
  if (/^\s*(#.*\n\s*)*subscription\b/.test(body.query)) return follow(body);
  const begun = performance.now();
  try {
    const { answer, body: said } = await ask(body);
    show(said);
    at("state").textContent = `${answer.status} · ${Math.round(performance.now() - begun)} ms · ${answer.headers.get("X-Request-Id")}  ${disclosed(said)}`;
    if (!types && answer.ok) learn();
  } catch (problem) {
    at("state").textContent = "The server cannot be reached.";
  }
}

async function follow(body) {
  running = new AbortController();
  at("stop").hidden = false;
  show("");
  try {
    const answer = await fetch("graphql/stream", {
      method: "POST",
      headers: { ...headers(), Accept: "text/event-stream" },
      body: JSON.stringify(body),
      signal: running.signal,
    });
    at("state").textContent = `${answer.status} · following`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("");
        if (data) at("answer").textContent += JSON.stringify(JSON.parse(data), null, 2) + "\n\n";
      }
    }
    at("state").textContent = "ended";
  } catch (problem) {
    at("state").textContent = running.signal.aborted ? "stopped" : "The stream broke off.";
  }
  at("stop").hidden = true;
}

const TYPE = "name kind ofType { name kind ofType { name kind ofType { name kind } } }";
const SCHEMA = `{ __schema { queryType { name } mutationType { name } subscriptionType { name } types { name kind description
  fields { name description type { ${TYPE} } args { name description type { ${TYPE} } } }
  inputFields { name description type { ${TYPE} } } enumValues { name description } } } }`;

async function learn() {
  const { answer, body } = await ask({ query: SCHEMA });
  if (!answer.ok || !body.data) return;
  types = new Map(body.data.__schema.types.map((type) => [type.name, type]));
  types.roots = ["queryType", "mutationType", "subscriptionType"].map((root) => body.data.__schema[root]).filter(Boolean).map((root) => root.name);
  docs(null);
}

function written(type) {
  if (type.kind === "NON_NULL") return written(type.ofType) + "!";
  if (type.kind === "LIST") return "[" + written(type.ofType) + "]";
  return type.name;
}

function named(type) {
  return type.ofType ? named(type.ofType) : type.name;
}

function element(name, text, into, go) {
  const made = document.createElement(name);
  made.textContent = text;
  if (go) made.addEventListener("click", go);
  into.append(made);
  return made;
}

function field(one, list) {
  const term = element("dt", "", list);
  element("span", one.name, term);
  if (one.args && one.args.length) element("span", "(" + one.args.map((arg) => `${arg.name}: ${written(arg.type)}`).join(", ") + ")", term);
  if (one.type) {
    element("span", ": ", term);
    element("a", written(one.type), term, () => docs(named(one.type)));
  }
  element("dd", one.description || "", list);
}

function docs(name) {
  const into = at("docs");
  into.textContent = "";
  at("path").textContent = "";
  if (!types) {
    element("p", "The schema shows when a token is given.", into);
    return;
  }
  if (!name) {
    for (const root of types.roots) element("a", root, element("p", "", into), () => docs(root));
    return;
  }
  element("a", "schema", at("path"), () => docs(null));
  const type = types.get(name);
  element("h2", name, into);
  element("p", type.description || "", into);
  const list = element("dl", "", into);
  for (const one of type.fields || type.inputFields || type.enumValues || []) field(one, list);
}

function search(words) {
  if (!types || !words) return docs(null);
  const into = at("docs");
  into.textContent = "";
  const meets = (text) => (text || "").toLowerCase().includes(words.toLowerCase());
  const list = element("dl", "", into);
  for (const type of types.values()) {
    if (type.name.startsWith("__")) continue;
    if (meets(type.name)) element("a", type.name, element("dt", "", list), () => docs(type.name));
    for (const one of type.fields || type.inputFields || type.enumValues || []) {
      if (!meets(one.name) && !meets(one.description)) continue;
      element("a", `${type.name}.${one.name}`, element("dt", "", list), () => docs(type.name));
      element("dd", one.description || "", list);
    }
  }
}

async function start() {
  const examples = await (await fetch("graphiql/examples.json")).json();
  examples.forEach((one, index) => element("option", `${one.persona}: ${one.about}`, at("examples")).value = index);
  new Set(examples.map((one) => one.purpose).filter(Boolean)).forEach((purpose) => element("option", "", at("purposes")).value = purpose);
  at("examples").addEventListener("change", (event) => {
    const one = examples[event.target.value];
    if (!one) return;
    at("query").value = one.query;
    at("purpose").value = one.purpose || "";
  });
  at("query").value = "{\n  me { subject roles purpose }\n}\n";
  docs(null);
}

at("run").addEventListener("click", run);
at("stop").addEventListener("click", () => running && running.abort());
at("token").addEventListener("change", () => { types = null; learn(); });
at("search").addEventListener("input", (event) => search(event.target.value));
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
at("query").addEventListener("keydown", (event) => {
  if (event.key !== "Tab" || event.shiftKey) return;
  event.preventDefault();
  event.target.setRangeText("  ", event.target.selectionStart, event.target.selectionEnd, "end");
});
start();
