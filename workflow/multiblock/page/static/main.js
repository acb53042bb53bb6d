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
  document.documentElement.dataset.ready = "yes";
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

start();
