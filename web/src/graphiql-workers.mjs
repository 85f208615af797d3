// Where Monaco finds its workers: beside the script of the page.

const WORKERS = { json: "json.worker.js", graphql: "graphql.worker.js" };

globalThis.MonacoEnvironment = {
  getWorker(_id, label) {
    const address = new URL(WORKERS[label] ?? "editor.worker.js", import.meta.url);
    return new Worker(address, { type: "module", name: label });
  },
};
