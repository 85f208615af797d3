"use strict";

// Loads the OpenAPI document beside this page and has Swagger UI show it. All addresses are relative to the page, so
// that it works at any prefix, also at one that a proxy has taken away and tells nobody about.
(() => {
  const main = document.getElementById("docs");
  const address = new URL(main.dataset.document, document.baseURI);
  const request = { headers: { Accept: "application/json" }, credentials: "same-origin", cache: "no-cache" };
  let shown = null;

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

  async function load() {
    let response;
    try {
      response = await fetch(address, request);
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

  // Who comes back from the editor sees what the service is now.
  async function look() {
    if (document.visibilityState !== "visible" || shown === null) return;
    try {
      const { ok, headers } = await fetch(address, { ...request, method: "HEAD" });
      if (ok && headers.get("ETag") !== shown) location.reload();
    } catch (error) {
      // the server is not there: what is shown stays
    }
  }

  // Where the document was loaded is where the service is, whatever it can know of that itself.
  function locate(loaded) {
    const here = new URL(".", address).href.replace(/\/$/, "");
    if (main.dataset.servers === "here") loaded.servers = [{ url: here }];
    main.classList.toggle("one-server", main.dataset.servers === "here");
    for (const scheme of Object.values(loaded.components?.securitySchemes ?? {})) {
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

  // Swagger UI's own filter knows tags and paths only.
  function opsFilter(groups, phrase) {
    const wanted = phrase.toLowerCase();
    const has = (text) => (text ?? "").toLowerCase().includes(wanted);
    const named = (item) => [["path"], ["operation", "operationId"], ["operation", "summary"]].some((at) => has(item.getIn(at)));
    return groups
      .map((group, tag) => (has(tag) ? group : group.update("operations", (items) => items.filter(named))))
      .filter((group) => group.get("operations").size > 0);
  }

  function show(loaded) {
    if (loaded.info?.title) {
      document.title = loaded.info.title;
      document.querySelector("nav a").textContent = loaded.info.title;
    }
    window.ui = SwaggerUIBundle({
      spec: locate(loaded),
      domNode: main,
      presets: [SwaggerUIBundle.presets.apis],
      plugins: [exactNumbers, () => ({ fn: { opsFilter } })],
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
  load().then(show, (error) => tell("The document could not be loaded", error.message, error.cause));
  window.addEventListener("focus", look);
  document.addEventListener("visibilitychange", look);
})();
