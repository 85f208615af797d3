"use strict";

// Loads the OpenAPI document beside this page and has Swagger UI show it. All addresses are relative to the page, so
// that it works at any prefix, also at one that a proxy has taken away and tells nobody about.
(() => {
  const main = document.getElementById("docs");
  const address = new URL(main.dataset.document, document.baseURI);
  let shown = null; // the entity tag of what is shown
  let bearer = null; // the token of who is logged in; it is kept nowhere else
  let turn = 0;

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", paint);
  paint();

  function element(name, text, attributes = {}) {
    const made = Object.assign(document.createElement(name), attributes);
    made.textContent = text;
    return made;
  }

  function tell(title, what, mend) {
    const message = element("div", "", { className: "message", role: "alert" });
    message.append(
      element("h1", title),
      element("p", what, { className: "what" }),
      element("p", mend),
      element("a", String(address), { href: address }),
    );
    main.replaceChildren(message);
  }

  function request(method) {
    const headers = { Accept: "application/json" };
    if (bearer !== null) headers.Authorization = `Bearer ${bearer}`;
    return { method, headers, credentials: "same-origin", cache: "no-cache" };
  }

  async function load() {
    let response;
    try {
      response = await fetch(address, request("GET"));
    } catch (error) {
      throw new Error("The server did not answer.", { cause: "Is it still running? Reload this page when it is." });
    }
    if (!response.ok) {
      throw new Error(`The server answered ${response.status} ${response.statusText}.`, {
        cause:
          response.status === 401 || response.status === 403
            ? "Something in front of the service lets you see this page, but not the document."
            : "The server's log says why. A proxy in front of it has to pass this address on as it does this page's.",
      });
    }
    try {
      const loaded = JSON.parse(await response.text());
      shown = response.headers.get("ETag");
      if (typeof loaded.openapi === "string") return loaded;
    } catch (error) {
      // told below
    }
    throw new Error("What the server sent is no OpenAPI document.", {
      cause: "Something else answers at this address, a proxy perhaps.",
    });
  }

  // Who comes back from the editor sees what the service is now. A page that is loaded again has forgotten the token.
  async function look() {
    if (document.visibilityState !== "visible" || shown === null) return;
    try {
      const { ok, headers } = await fetch(address, request("HEAD"));
      if (!ok || headers.get("ETag") === shown) return;
      if (bearer === null) location.reload();
      else show(await load());
    } catch (error) {
      // the server is not there: what is shown stays
    }
  }

  // Where the document was loaded is where the service is, whatever it can know of that itself.
  function locate(loaded) {
    const here = new URL(".", address).href.replace(/\/$/, "");
    if (main.dataset.servers === "here") loaded.servers = [{ url: here }];
    main.classList.toggle("one-server", main.dataset.servers === "here");
    for (const [name, scheme] of Object.entries(loaded.components?.securitySchemes ?? {})) {
      if (scheme.type === "openIdConnect") {
        // Swagger UI would ask the issuer where one logs in, and this page asks nobody but the service
        const description = `${scheme.description ?? ""}\n\nGet one there (${scheme.openIdConnectUrl}), and paste it.`;
        loaded.components.securitySchemes[name] = { type: "http", scheme: "bearer", bearerFormat: "JWT", description };
      }
      for (const flow of Object.values(scheme.flows ?? {})) {
        for (const name of ["authorizationUrl", "tokenUrl", "refreshUrl"]) {
          if (flow[name]) flow[name] = new URL(flow[name], address).href;
        }
      }
    }
    return loaded;
  }

  // Swagger UI shows numbers as JavaScript reads them: 9007199254740993 as 9007199254740992, more digits as 1.5e+25.
  // Where a browser can (JSON.rawJSON), they are shown as they were sent.
  function exactNumbers(system) {
    const exact = (key, value, context) => (typeof value === "number" ? JSON.rawJSON(context.source) : value);
    const lay = (text, reviver) => JSON.stringify(JSON.parse(text, reviver), null, "  ");
    const responseBody = (Original) => (properties) => {
      const { content, contentType, getComponent } = properties;
      if (JSON.rawJSON && typeof content === "string" && /json/i.test(contentType)) {
        try {
          const text = lay(content, exact);
          if (text !== lay(content)) {
            const Code = getComponent("HighlightCode", true);
            return system.React.createElement(
              "div",
              null,
              system.React.createElement("h5", null, "Response body"),
              system.React.createElement(Code, { language: "json", downloadable: true, canCopy: true, fileName: "response.json" }, text),
            );
          }
        } catch (error) {
          // no JSON: the original says so
        }
      }
      return system.React.createElement(Original, properties);
    };
    return { wrapComponents: { responseBody } };
  }

  // What a caller needs for an operation, in words; nothing where a call without a token is answered as well.
  function needed(security) {
    const alternatives = security?.toJS() ?? [];
    if (alternatives.some((schemes) => Object.keys(schemes).length === 0)) return "";
    const scopes = alternatives.map((schemes) => Object.values(schemes).flat().join(" and ") || "token");
    return [...new Set(scopes)].join(" or ");
  }

  // Swagger UI draws a lock: open where a token is needed, and closed where it is not.
  function scopesForLocks(system) {
    const { createElement } = system.React;
    const found = new Map(); // one component for each text, which React then keeps
    function componentsFor(text, getComponent) {
      if (!found.has(text)) {
        const title = text === "token" ? "Needs a token" : `Needs a token with the scope ${text}`;
        const attributes = { type: "button", className: "needed", title, "aria-label": `${title}. Authorize` };
        const Needed = ({ onClick }) => createElement("button", { ...attributes, onClick }, text);
        found.set(text, (name, ...rest) => (name === "authorizeOperationBtn" ? Needed : getComponent(name, ...rest)));
      }
      return found.get(text);
    }
    const OperationSummary = (Original) => (properties) => {
      const { getComponent, operationProps } = properties;
      const text = needed(operationProps.get("security"));
      const changed =
        text === ""
          ? { operationProps: operationProps.delete("security") }
          : { getComponent: componentsFor(text, getComponent) };
      return createElement(Original, { ...properties, ...changed });
    };
    return { wrapComponents: { OperationSummary } };
  }

  // A line for each answer that is no success, and one for the headers of an answer; a click shows the rest.
  function foldedAnswers(system) {
    const { createElement, Fragment, useState } = system.React;
    const response = (Original) => (properties) => {
      const [open, setOpen] = useState(false);
      const { className, code, getComponent } = properties;
      if (/^2/.test(code)) return createElement(Original, properties);
      const Markdown = getComponent("Markdown", true);
      const toggle = ({ target }) => target.closest("a") === null && setOpen(!open);
      const line = createElement(
        "tr",
        { className: `response folded ${className ?? ""}`, onClick: toggle },
        createElement(
          "td",
          { className: "response-col_status" },
          createElement("button", { type: "button", "aria-expanded": open, "aria-label": `Answer ${code}` }, code),
        ),
        createElement(
          "td",
          { className: "response-col_description" },
          createElement(Markdown, { source: properties.response.get("description") }),
        ),
      );
      return createElement(Fragment, null, line, open && createElement(Original, properties));
    };
    const headers = (Original) => (properties) => {
      const names = properties.headers?.keySeq().join(", ");
      if (!names) return null;
      const title = createElement("summary", null, `Headers: ${names}`);
      return createElement("details", { className: "answer-headers" }, title, createElement(Original, properties));
    };
    return { wrapComponents: { response, headers } };
  }

  // Swagger UI's own filter knows tags and paths only.
  function opsFilter(groups, phrase) {
    const wanted = phrase.toLowerCase();
    const has = (text) => (text ?? "").toLowerCase().includes(wanted);
    const named = (item) => [["path"], ["operation", "operationId"], ["operation", "summary"]].some((at) => has(item.getIn(at)));
    return groups
      .map((group, tag) => (has(tag) ? group : group.update("operations", (items) => items.filter(named))))
      .filter((group) => group.get("operations").size > 0);
  }

  // Who has logged in is shown what they may call, and all of it again when they have logged out.
  function followLogin(system) {
    async function follow() {
      const authorized = Object.entries(system.authSelectors.authorized()?.toJS() ?? {});
      const tokens = authorized.map(([name, { token, value }]) => [name, token?.access_token ?? value]);
      const [name, token] = tokens.find(([, given]) => typeof given === "string" && given !== "") ?? [null, null];
      if (token === bearer) return;
      bearer = token;
      const mine = (turn += 1);
      let loaded;
      try {
        loaded = await load();
      } catch (error) {
        if (mine !== turn || token === null) return; // what is shown stays
        system.errActions.newAuthErr({ authId: name, level: "error", source: "auth", message: error.message });
        bearer = null;
        loaded = await load().catch(() => null);
      }
      if (mine === turn && loaded !== null) show(loaded);
    }
    const wrapped = (original) => (payload) => {
      const done = original(payload);
      follow();
      return done;
    };
    const wrapActions = { authorize: wrapped, authorizeOauth2: wrapped, logout: wrapped };
    return { statePlugins: { auth: { wrapActions } } };
  }

  function show(loaded) {
    if (loaded.info?.title) {
      document.title = loaded.info.title;
      document.querySelector("nav a").textContent = loaded.info.title;
    }
    if (window.ui !== undefined) {
      window.ui.specActions.updateSpec(JSON.stringify(locate(loaded)));
      return;
    }
    window.ui = SwaggerUIBundle({
      spec: locate(loaded),
      domNode: main,
      presets: [SwaggerUIBundle.presets.apis],
      plugins: [exactNumbers, scopesForLocks, foldedAnswers, followLogin, () => ({ fn: { opsFilter } })],
      layout: "BaseLayout",
      validatorUrl: null,
      deepLinking: true,
      docExpansion: "list",
      filter: true,
      displayOperationId: true,
      displayRequestDuration: true,
      showCommonExtensions: true,
      defaultModelsExpandDepth: 0,
      defaultModelExpandDepth: 3,
      persistAuthorization: false,
    });
  }

  if (typeof SwaggerUIBundle === "undefined") {
    tell("Swagger UI could not be loaded", "A script of this page is missing.", "Reload the page; the document itself is here:");
    return;
  }
  main.addEventListener("keydown", ({ key, target }) => {
    // the dialog has no form that Enter would send
    if (key === "Enter" && target.matches(".auth-container input:not([type=checkbox])")) {
      target.closest(".auth-container").querySelector(".authorize")?.click();
    }
  });
  load().then(show, (error) => tell("The document could not be loaded", error.message, error.cause));
  window.addEventListener("focus", look);
  document.addEventListener("visibilitychange", look);
})();
