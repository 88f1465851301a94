// All is drawn: tests wait for it.
document.documentElement.dataset.drawn = Object.keys(views).length;
