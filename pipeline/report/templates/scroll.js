// What does not fit its place can be scrolled by keyboard, and has a name; nothing else is a tab stop.
function scrollable() {
  for (const place of document.querySelectorAll(".scroll")) {
    const over = place.scrollWidth > place.clientWidth + 1 || place.scrollHeight > place.clientHeight + 1;
    const set = { tabindex: "0", role: "region", "aria-label": place.dataset.name };
    for (const [name, value] of Object.entries(set)) {
      if (over) place.setAttribute(name, value);
      else place.removeAttribute(name);
    }
  }
}
scrollable();
window.addEventListener("resize", scrollable);
document.addEventListener("toggle", scrollable, true);
