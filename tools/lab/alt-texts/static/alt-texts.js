// JupyterLab shows the pictures of a notebook without a text for those who do not see them. This
// extension gives each picture the sentence in the metadata of its cell, `alt`. `make lab` loads it.
function complete(app) {
  for (const page of app.shell.widgets("main")) {
    for (const cell of page.content?.widgets ?? []) {
      const sentence = cell.model?.getMetadata?.("alt");
      for (const image of sentence ? cell.node.querySelectorAll(".jp-OutputArea img") : []) {
        if (image.alt !== sentence) image.alt = sentence;
      }
    }
  }
}

const plugin = {
  id: "alt-texts:plugin",
  autoStart: true,
  activate(app) {
    const new_picture = (node) => node.nodeName === "IMG" || node.querySelector?.("img");
    new MutationObserver((changes) => {
      if (changes.some((change) => [...change.addedNodes].some(new_picture))) complete(app);
    }).observe(document.body, {childList: true, subtree: true});
    // Printed lines that are too long for the page would be broken within words.
    const style = document.head.appendChild(document.createElement("style"));
    style.textContent =
      ".jp-OutputArea .jp-OutputArea-output pre { word-break: normal; overflow-wrap: anywhere; }";
  },
};

// What JupyterLab expects of an extension that no bundler has packed.
globalThis._JUPYTERLAB = globalThis._JUPYTERLAB ?? {};
globalThis._JUPYTERLAB["alt-texts"] = {
  init() {},
  get: async () => () => ({__esModule: true, default: plugin}),
};
