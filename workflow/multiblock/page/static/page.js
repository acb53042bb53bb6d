// What the charts and the viewer have in common, and what the page does when it is opened.

// Elements without HTML strings: names of images and runs are data, and stay text.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// What a script element of the page holds.
function dataOf(id) {
  const holder = document.getElementById(id);
  return holder ? JSON.parse(holder.textContent) : null;
}

const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

const between = (value, low, high) => Math.min(Math.max(value, low), high);

// Calls that come while one is waiting for the next frame count as one.
function onceAFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}

// What the page does when it is opened. It is ready once the first picture and all charts are drawn.

async function start() {
  for (const holder of document.querySelectorAll("[data-chart]")) new Chart(holder, dataOf(holder.dataset.chart));
  const data = dataOf("viewer-data");
  const root = document.getElementById("viewer");
  if (root && data && data.cuts.length) {
    const viewer = new Viewer(root, data);
    root.viewer = viewer; // for who looks from the console
    await viewer.open(0);
    for (const link of document.querySelectorAll("[data-open]")) openOnClick(link, viewer);
  }
  renew(document.getElementById("written"));
  document.documentElement.dataset.ready = "yes";
}

// The page of what is under way reads itself anew, and keeps its place: the browser would set it before charts are drawn.
function renew(written) {
  if (!written) return;
  history.scrollRestoration = "manual";
  scrollTo(0, (history.state || {}).place || 0);
  const seconds = Number(written.dataset.renews);
  if (!seconds) return;
  const silent = Date.now() / 1000 - Number(written.dataset.written);
  if (silent > 120) written.append(` Nothing new for ${Math.round(silent / 60)} minutes: it may have been ended.`);
  setTimeout(() => {
    history.replaceState({ ...history.state, place: scrollY }, "");
    location.reload();
  }, 1000 * seconds);
}

// An error map opens its image in the viewer.
function openOnClick(link, viewer) {
  const number = viewer.cuts.findIndex((cut) => cut.name === link.dataset.open);
  link.hidden = number < 0;
  link.addEventListener("click", () => {
    viewer.open(number);
    viewer.root.scrollIntoView();
    viewer.frames[0].canvas.focus({ preventScroll: true });
  });
}
