// Draws single recordings: the gallery and the player. What they hold is described in samples.py.
const held = JSON.parse(document.getElementById("samples").textContent);

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Differences to places.
function summed(list) {
  let at = 0;
  return list.map((difference) => (at += difference));
}

// A canvas that is sharp at its size on the page; what is drawn has the page's unit.
function cleared(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

// The events of a sample: [step, place in the step, how many]; of one that is no golden vector as its
// picture needs them.
function eventsOf(task, sample) {
  const { input, pictures, shape, steps } = held[task];
  if (sample >= input.length) {
    const numbers = [...pictures[sample - input.length]].map((character) => parseInt(character, 36));
    return numbers.flatMap((n, at) => {
      if (!n) return [];
      return [shape.length < 3 ? [at % steps, Math.floor(at / steps), n] : [0, at, n]];
    });
  }
  const size = shape.reduce((a, b) => a * b, 1);
  return summed(input[sample].at).map((at, k) => [
    Math.floor(at / size), at % size, parseInt(input[sample].n[k], 36),
  ]);
}

// Events as a picture: of sensors with (polarity, row, column) where they are, else rows by steps.
function frame(canvas, task, events) {
  const { shape, steps } = held[task];
  const flat = shape.length < 3;
  const columns = flat ? steps : shape[2];
  const rows = flat ? shape.reduce((a, b) => a * b, 1) : shape[1];
  const width = canvas.clientWidth || 160;
  const [dx, dy] = [width / columns, flat ? Math.max(4, 60 / rows) : width / columns];
  const pen = cleared(canvas, width, rows * dy);
  pen.fillStyle = colour("paper");
  pen.fillRect(0, 0, width, rows * dy);
  const sums = new Map();
  for (const [step, place, n] of events) {
    const at = flat ? place * steps + step : place;
    sums.set(at, (sums.get(at) ?? 0) + n);
  }
  const most = Math.max(1, ...sums.values());
  for (const [at, n] of sums) {
    const cell = at % (rows * columns);
    pen.globalAlpha = 0.35 + (0.65 * n) / most;
    pen.fillStyle = colour(flat ? "ink" : at < rows * columns ? "c2" : "c1");
    pen.fillRect((cell % columns) * dx, Math.floor(cell / columns) * dy, Math.max(dx, 1.5), dy);
  }
  pen.globalAlpha = 1;
}

function bars(into, classes, counts, label, taken) {
  const most = Math.max(1, ...counts);
  into.replaceChildren(
    ...counts.map((n, k) => {
      const row = document.createElement("div");
      row.className = `count${k === taken ? " taken" : ""}${k === label ? " actual" : ""}`;
      const name = document.createElement("span");
      name.textContent = classes[k];
      const bar = document.createElement("span");
      bar.className = "bar";
      const filled = document.createElement("span");
      filled.style.width = `${(100 * n) / most}%`;
      bar.append(filled);
      const number = document.createElement("span");
      number.textContent = n;
      row.append(name, bar, number);
      return row;
    }),
  );
}

function said(task, sample, answer) {
  const { classes, labels, numbers } = held[task];
  const start = `Sample ${numbers[sample]}: ${classes[labels[sample]]}`;
  if (answer.next === null) return `${start}, no output spike: counts as ${classes[answer.class]}`;
  const [first, second] = [answer.class, answer.next];
  const how = answer.counts[first] === answer.counts[second] ? "the first of equals, with" : "runner-up";
  return (
    `${start}, taken for ${classes[first]} (${answer.counts[first]} spikes); ` +
    `${how} ${classes[second]} (${answer.counts[second]})`
  );
}

function galleryOf(task) {
  const place = document.getElementById(`gallery-${task}`);
  const [run, cell] = ["run", "cell"].map((name) => place.querySelector(`[data-gallery=${name}]`));
  const { classes, labels, runs } = held[task];

  function list() {
    const { answers } = runs.find(({ name }) => name === run.value);
    const wanted = labels.map((label, sample) => {
      const answer = answers[sample];
      if (!answer) return false;
      if (cell.value === "all") return true;
      if (cell.value === "wrong") return answer.class !== label;
      return cell.value === `${classes[label]}|${classes[answer.class]}`;
    });
    const shown = labels.flatMap((_, sample) => (wanted[sample] ? [sample] : []));
    const frames = place.querySelector(".frames");
    place.querySelector("[data-gallery=said]").textContent =
      `${run.selectedOptions[0].dataset.said}. Shown: ${shown.length || "none"}.`;
    frames.replaceChildren(
      ...shown.map((sample) => {
        const item = document.createElement("li");
        const canvas = document.createElement("canvas");
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `Input events of ${said(task, sample, answers[sample])}`);
        const text = document.createElement("p");
        text.textContent = said(task, sample, answers[sample]);
        const counts = document.createElement("div");
        bars(counts, classes, answers[sample].counts, labels[sample], answers[sample].class);
        item.append(canvas, text, counts);
        if (sample >= held[task].input.length) return item; // its layers' spikes are in no bundle
        const play = document.createElement("button");
        play.type = "button";
        play.textContent = `Play sample ${held[task].numbers[sample]}`;
        play.addEventListener("click", () => {
          players[task].choose(sample, run.value);
          document.getElementById(`player-${task}`).scrollIntoView();
        });
        item.append(play);
        return item;
      }),
    );
    for (const [k, sample] of shown.entries()) {
      frame(frames.children[k].querySelector("canvas"), task, eventsOf(task, sample));
    }
  }

  run.addEventListener("change", list);
  cell.addEventListener("change", list);
  return {
    list,
    // The cell of the confusion matrix, which is that of the trained network.
    open(actual, predicted) {
      run.value = "trained";
      const value = `${actual}|${predicted}`;
      if (![...cell.options].some((option) => option.value === value)) cell.add(new Option(value.replace("|", ", taken for "), value));
      cell.value = value;
      list();
      place.closest("section").scrollIntoView();
    },
  };
}

function playerOf(task) {
  const place = document.getElementById(`player-${task}`);
  const part = (name) => place.querySelector(`[data-player=${name}]`);
  const [sample, run, step, play, time] = ["sample", "run", "step", "play", "time"].map(part);
  const { classes, labels, runs, shape, spikes, steps, step_ms, output } = held[task];
  const channels = shape.reduce((a, b) => a * b, 1);
  let events, base, moving;

  // The marks of a layer, [step, row], of the chosen run, and how many rows there are.
  function marks(layer) {
    const row = specs[`raster-${task}`].data.values.find(
      (one) => one.layer === layer && one.sample === sample.value,
    );
    const lane = row.lanes.indexOf(runs.findIndex(({ name }) => name === run.value));
    if (lane < 0) return [[], row.neurons.length];
    const bit = 1 << row.spiked[lane];
    return [row.t.flatMap((t, k) => (row.m[k] & bit ? [[t, row.row[k]]] : [])), row.neurons.length];
  }

  function lane(canvas, points, rows) {
    const [width, height] = [canvas.clientWidth, Math.min(110, Math.max(34, rows * 3))];
    const picture = document.createElement("canvas");
    const pen = cleared(picture, width, height);
    cleared(canvas, width, height);
    pen.fillStyle = colour("raised");
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = colour("ink");
    const [dx, dy] = [width / steps, height / rows];
    for (const [t, row, share] of points) {
      pen.globalAlpha = share ?? 1;
      pen.fillRect(t * dx, row * dy, Math.max(1, dx * 0.8), Math.max(1, dy * 0.8));
    }
    return picture;
  }

  function load() {
    events = eventsOf(task, Number(sample.value));
    base = [...place.querySelectorAll("canvas[data-layer]")].map((canvas) => {
      if (canvas.dataset.layer) {
        const [points, rows] = marks(canvas.dataset.layer);
        canvas.closest("figure").querySelector("[data-drawn]").textContent = rows;
        return [canvas, lane(canvas, points, rows)];
      }
      if (channels <= 60) return [canvas, lane(canvas, events.map(([t, row]) => [t, row]), channels)];
      // Too many channels for rows: bars of the events in each step.
      const sums = Array(steps).fill(0);
      for (const [t, , n] of events) sums[t] += n;
      const most = Math.max(1, ...sums);
      const points = sums.flatMap((n, t) =>
        Array.from({ length: Math.round((20 * n) / most) }, (_, k) => [t, 19 - k]),
      );
      return [canvas, lane(canvas, points, 20)];
    });
    show();
  }

  function show() {
    const at = Number(step.value);
    const ms = step_ms === null ? "" : `, to ${((at + 1) * step_ms).toFixed(0)} ms`;
    time.textContent = `step ${at} of 0 to ${steps - 1}${ms}`;
    step.setAttribute("aria-valuetext", time.textContent);
    if (part("frame")) frame(part("frame"), task, events.filter(([t]) => t === at));
    for (const [canvas, picture] of base) {
      const pen = canvas.getContext("2d");
      pen.drawImage(picture, 0, 0, canvas.clientWidth, canvas.clientHeight);
      const dx = canvas.clientWidth / steps;
      pen.fillStyle = colour("bad");
      pen.fillRect((at + 1) * dx - 1, 0, 2, canvas.clientHeight);
    }
    const counts = classes.map(() => 0);
    const answer = runs.find(({ name }) => name === run.value).answers[Number(sample.value)];
    if (answer) {
      for (const spike of summed(spikes[answer.spikes])) {
        if (spike < (at + 1) * classes.length) counts[spike % classes.length] += 1;
      }
    }
    const taken = counts.some(Boolean) ? counts.indexOf(Math.max(...counts)) : -1;
    bars(place.querySelector(".counts"), classes, counts, labels[Number(sample.value)], taken);
  }

  function stop() {
    cancelAnimationFrame(moving);
    moving = undefined;
    play.textContent = "Play";
  }

  // A recording takes six seconds, whatever its own length.
  function start() {
    if (Number(step.value) === steps - 1) step.value = 0;
    const [first, began] = [Number(step.value), performance.now()];
    play.textContent = "Pause";
    const move = (now) => {
      const at = Math.min(steps - 1, first + Math.floor(((now - began) * steps) / 6000));
      if (at !== Number(step.value)) {
        step.value = at;
        show();
      }
      if (at < steps - 1) moving = requestAnimationFrame(move);
      else stop();
    };
    moving = requestAnimationFrame(move);
  }

  play.addEventListener("click", () => (moving === undefined ? start() : stop()));
  step.addEventListener("input", () => {
    stop();
    show();
  });
  sample.addEventListener("change", load);
  run.addEventListener("change", load);
  for (const canvas of place.querySelectorAll("canvas[data-layer]")) {
    canvas.addEventListener("click", ({ offsetX }) => {
      stop();
      step.value = Math.floor((offsetX * steps) / canvas.clientWidth);
      show();
    });
  }
  return {
    load,
    choose(number, name) {
      stop();
      sample.value = String(number);
      run.value = name;
      load();
    },
  };
}

const tasks = Object.keys(held).filter((task) => held[task]);
const players = Object.fromEntries(tasks.map((task) => [task, playerOf(task)]));
const galleries = Object.fromEntries(tasks.map((task) => [task, galleryOf(task)]));
for (const task of tasks) {
  views[`confusion-${task}`]?.addEventListener("click", (_, item) => {
    if (item?.datum?.actual !== undefined) galleries[task].open(item.datum.actual, item.datum.predicted);
  });
}

function drawSamples() {
  for (const task of tasks) {
    // What is hidden has no width; it is drawn when it is shown.
    if (!document.getElementById(`player-${task}`).clientWidth) continue;
    players[task].load();
    galleries[task].list();
  }
}
drawSamples();
window.addEventListener("resize", drawSamples);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSamples);
