// Draws the charts, and lets the drop-downs choose what they and the page show.
const specs = JSON.parse(document.getElementById("charts").textContent);
const views = {};
const options = {
  renderer: "svg",
  actions: false,
  defaultStyle: false,
  tooltip: { disableDefaultStyle: true },
};

for (const [id, spec] of Object.entries(specs)) {
  const { view } = await window.vegaEmbed(document.getElementById(id), spec, options);
  views[id] = view;
}

function set(signal, value, within) {
  for (const { id } of within.querySelectorAll(".chart")) {
    const known = (specs[id].params ?? []).some(({ name }) => name === signal);
    if (known) views[id].signal(signal, value).runAsync();
  }
}

for (const select of document.querySelectorAll("select[data-signal]")) {
  select.addEventListener("change", () => {
    set(select.dataset.signal, select.value, select.closest("section"));
  });
}

for (const kind of ["task", "target"]) {
  const filter = document.getElementById(`${kind}-filter`);
  filter?.addEventListener("change", () => {
    for (const element of document.querySelectorAll(`[data-${kind}]`)) {
      element.hidden = filter.value !== "" && element.dataset[kind] !== filter.value;
    }
    set(kind, filter.value, document);
    // A chart that was hidden has no width until it is asked to look again.
    window.dispatchEvent(new Event("resize"));
  });
}

window.addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
});

document.documentElement.dataset.drawn = Object.keys(views).length;
