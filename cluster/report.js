// Hovering over a chart: a vertical line at the nearest step, and the values there.
for (const figure of document.querySelectorAll("figure.chart")) {
  const data = JSON.parse(figure.dataset.chart);
  const svg = figure.querySelector("svg"), cursor = figure.querySelector(".cursor"), output = figure.querySelector("output");
  if (!data.x.length) continue;
  svg.addEventListener("pointermove", (event) => {
    const at = ((event.clientX - svg.getBoundingClientRect().left) / svg.clientWidth) * svg.viewBox.baseVal.width;
    let nearest = 0;
    data.x.forEach((x, i) => { if (Math.abs(x - at) < Math.abs(data.x[nearest] - at)) nearest = i; });
    cursor.setAttribute("x1", data.x[nearest]);
    cursor.setAttribute("x2", data.x[nearest]);
    const values = data.names.map((name, i) => `${name} ${data.values[i][nearest]}`);
    output.textContent = [`step ${data.step[nearest]}`, ...values].join("   ");
    figure.classList.add("hover");
  });
  svg.addEventListener("pointerleave", () => figure.classList.remove("hover"));
}
