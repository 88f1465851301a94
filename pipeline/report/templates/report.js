// Draws the charts, and lets the drop-downs choose what they and the page show.
const specs = JSON.parse(document.getElementById("charts").textContent);
const views = {};
const options = {
  renderer: "svg",
  actions: false,
  defaultStyle: false,
  tooltip: { disableDefaultStyle: true },
  // Thousands as in the tables.
  formatLocale: { decimal: ".", thousands: "\u202f", grouping: [3], currency: ["", ""] },
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

// A node of the network's picture leads to its spikes or weights, and chooses them there.
for (const link of document.querySelectorAll("a[data-choose]")) {
  link.addEventListener("click", () => {
    const place = document.getElementById(link.getAttribute("href").slice(1));
    const select = place.querySelector(`select[data-signal=${link.dataset.choose}]`);
    if (!select) return;
    select.value = link.dataset.value;
    select.dispatchEvent(new Event("change"));
  });
}

// The address keeps what is chosen: #section&task=braille&target=loihi.
const filters = ["task", "target"].flatMap((kind) => {
  const select = document.getElementById(`${kind}-filter`);
  return select ? [[kind, select]] : [];
});

function show() {
  for (const [kind, select] of filters) {
    for (const element of document.querySelectorAll(`main [data-${kind}], #rail [data-${kind}]`)) {
      element.hidden = select.value !== "" && element.dataset[kind] !== select.value;
    }
    set(kind, select.value, document);
  }
  // A chart that was hidden has no width until it is asked to look again.
  window.dispatchEvent(new Event("resize"));
}

function chosen() {
  return filters.flatMap(([kind, { value }]) => (value ? [`${kind}=${encodeURIComponent(value)}`] : []));
}

function keep(section) {
  history.replaceState(null, "", `#${[section, ...chosen()].join("&")}`);
}

// The words of the address; none of what is no address of this page.
function words() {
  try {
    return location.hash.slice(1).split("&").map(decodeURIComponent);
  } catch {
    return [""];
  }
}

function section() {
  return words()[0];
}

// What the address says. One without a choice, such as that of a link on this page, changes none.
function follow() {
  const choices = words().slice(1);
  const said = Object.fromEntries(choices.map((word) => word.split("=")));
  if (choices.length) {
    for (const [kind, select] of filters) {
      const known = [...select.options].some(({ value }) => value === said[kind]);
      select.value = known ? said[kind] : "";
    }
  }
  show();
  keep(section());
  document.getElementById(section())?.scrollIntoView();
}

for (const [, select] of filters) {
  select.addEventListener("change", () => {
    show();
    keep(section());
  });
}
window.addEventListener("hashchange", follow);
if (location.hash) follow();

const rail = document.getElementById("rail");
const button = document.getElementById("rail-button");
document.documentElement.classList.add("scripted");
function unfold(open) {
  rail.classList.toggle("open", open);
  button.setAttribute("aria-expanded", String(open));
}
button.addEventListener("click", () => unfold(!rail.classList.contains("open")));
rail.addEventListener("click", ({ target }) => target.closest("a") && unfold(false));

// The rail marks the section that is read.
const links = new Map([...rail.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const read = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(target.id).setAttribute("aria-current", "true");
    }
  },
  { rootMargin: "-20% 0px -75% 0px" },
);
for (const id of links.keys()) read.observe(document.getElementById(id));

// Paper has the overview and the pictures, which are drawn anew in the width that they have there.
function paper(printing) {
  document.documentElement.classList.toggle("printing", printing);
  for (const [id, view] of Object.entries(views)) {
    const width = document.getElementById(id).clientWidth;
    if (width) view.width(width).run();
  }
}
window.addEventListener("beforeprint", () => paper(true));
window.addEventListener("afterprint", () => paper(false));
