// The page of GraphiQL. All addresses are relative to it, so that it works at any prefix, also at one that a proxy has
// taken away and tells nobody about.

import "./graphiql-sheets.mjs"; // before all that make sheets
import "./graphiql-workers.mjs";

import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "@graphiql/react/style.css";
import "graphiql/graphiql.css";

import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { GraphiQL } from "graphiql";
import { Kind, parse } from "graphql";
import { createElement, useEffect } from "react";
import { createRoot } from "react-dom/client";

import { colours } from "./graphiql-colours.mjs";
import { Login } from "./graphiql-login.mjs";

const main = document.getElementById("graphiql");
const examples = JSON.parse(main.dataset.examples);
const endpoint = new URL(main.dataset.endpoint, document.baseURI);
const login = main.dataset.login ? new Login(new URL(main.dataset.login, document.baseURI)) : null;

const TABS = 5; // so many examples are tabs at first; all are in the menu
const HINT = "# Write a query, a mutation, or choose an example above. Ctrl-Space proposes what may follow.\n\n";

const tabOf = ({ query, variables }) => ({ query, variables });

// GraphiQL's storage, apart for each service: several may be at one address, one after the other or side by side.
const storage = (() => {
  const prefix = `servey ${endpoint.pathname} ${main.dataset.title} `;
  const names = () => Object.keys(localStorage).filter((name) => name.startsWith(prefix));
  try {
    names();
  } catch (error) {
    return null; // the browser keeps nothing
  }
  return {
    getItem: (name) => localStorage.getItem(prefix + name),
    setItem: (name, value) => localStorage.setItem(prefix + name, value),
    removeItem: (name) => localStorage.removeItem(prefix + name),
    clear: () => names().forEach((name) => localStorage.removeItem(name)),
    get length() {
      return names().length;
    },
  };
})();
const isFirstVisit = storage === null || storage.getItem("graphiql:tabState") === null;

// JavaScript reads 9007199254740993 as 9007199254740992. Where a browser can (JSON.rawJSON), numbers are shown as sent.
function exact(_key, value, context) {
  if (typeof value !== "number" || !JSON.rawJSON || String(value) === context?.source) return value;
  return JSON.rawJSON(context.source);
}

// GraphiQL reads the names of the operations 100 ms after the last change of the text. A query that runs sooner is sent
// with the name of an operation that is gone; the text itself says what its only operation is called.
function nameIn(query, name) {
  let operations;
  try {
    operations = parse(query).definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  } catch (error) {
    return undefined; // the server explains what is wrong
  }
  const names = operations.map((operation) => operation.name?.value);
  return names.length === 1 ? names[0] : names.find((other) => other === name);
}

async function fetcher({ query, variables, operationName }, { headers: typed = {} } = {}) {
  const headers = new Headers({
    "Content-Type": "application/json",
    Accept: "application/graphql-response+json, application/json;q=0.9",
  });
  const token = login?.token ?? null;
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  // what is typed goes first
  for (const [name, value] of Object.entries(typed)) headers.set(name, String(value));
  const body = JSON.stringify({ query, variables, operationName: nameIn(query, operationName) });
  let response;
  try {
    response = await fetch(endpoint, { method: "POST", headers, body, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    throw new Error("The server did not answer. Is it still running?");
  }
  if (response.status === 401 && headers.get("Authorization") === `Bearer ${token}`) login?.refused(token);
  const text = await response.text();
  let answer = null;
  try {
    answer = JSON.parse(text, exact);
  } catch (error) {
    // told below
  }
  if (answer === null || typeof answer !== "object") {
    throw new Error(`The server answered ${response.status} ${response.statusText}`.trim() + ", and that is no JSON.");
  }
  return answer;
}

// What the header of the page and GraphiQL have to do with one another.
function Header() {
  const { addTab, introspect, setTheme } = useGraphiQLActions();
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);

  useEffect(() => login?.follow(() => introspect()), [introspect]); // who is somebody else may see something else

  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const paint = () => setTheme(null); // Monaco's colours do not follow the system otherwise
    dark.addEventListener("change", paint);
    return () => dark.removeEventListener("change", paint);
  }, [setTheme]);

  useEffect(() => {
    const menu = document.getElementById("examples");
    if (!menu || !queryEditor || !variableEditor) return undefined;
    const choose = () => {
      const example = examples[menu.selectedIndex - 1];
      menu.selectedIndex = 0;
      if (!example) return;
      addTab();
      queryEditor.setValue(example.query);
      variableEditor.setValue(example.variables);
      queryEditor.focus();
    };
    menu.addEventListener("change", choose);
    menu.disabled = false;
    return () => menu.removeEventListener("change", choose);
  }, [addTab, queryEditor, variableEditor]);

  return null;
}

function fillMenu() {
  if (examples.length === 0) return;
  const menu = document.getElementById("examples");
  menu.append(...examples.map(({ title }) => new Option(title)));
  menu.hidden = false;
  menu.disabled = true; // until the editors are there
}

fillMenu();
const initial = isFirstVisit && examples.length > 0 ? { initialVariables: examples[0].variables } : {};
createRoot(main).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      storage,
      defaultQuery: HINT,
      ...(examples.length > 0 ? { defaultTabs: examples.slice(0, TABS).map(tabOf) } : {}),
      ...initial,
      defaultEditorToolsVisibility: true,
      isHeadersEditorEnabled: true,
      showPersistHeadersSettings: false,
      shouldPersistHeaders: false,
      inputValueDeprecation: true,
      schemaDescription: true,
      forcedTheme: "system",
      editorTheme: colours,
    },
    createElement(GraphiQL.Logo, null, null),
    createElement(Header),
  ),
);
