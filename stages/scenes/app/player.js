// A film or recording with its probabilities running along under it. `props.value` is what serve.py made of a timeline.
function draw() {
  const told = props.value;
  if (!told || !told.seconds) return;
  const [film, chart, now] = ["video", "svg", "ol"].map((name) => element.querySelector(name));
  const length = told.seconds.length;
  film.src = told.source;
  chart.setAttribute("viewBox", `0 0 ${length} 1`);
  const bars = told.seconds.flatMap((row, second) => {
    let top = 1;
    return row.map((p, c) => {
      top -= p;
      return `<rect x="${second}" y="${top}" width="1.01" height="${p}" fill="${told.colours[c]}"/>`;
    });
  });
  chart.innerHTML = bars.join("") + `<line y1="0" y2="1" stroke="black" stroke-width="3" vector-effect="non-scaling-stroke"/>`;
  const cursor = chart.querySelector("line");
  const follow = () => {
    const time = Math.min(film.currentTime, length - 0.001);
    cursor.setAttribute("x1", time);
    cursor.setAttribute("x2", time);
    const row = told.seconds[Math.floor(time)];
    const best = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 3);
    now.replaceChildren(...best.map((c) => {
      const item = document.createElement("li");
      item.textContent = `${told.classes[c]} ${row[c].toFixed(2)}`;
      item.style.borderLeft = `1em solid ${told.colours[c]}`;
      return item;
    }));
  };
  film.ontimeupdate = follow;
  chart.onclick = (event) => {
    const box = chart.getBoundingClientRect();
    film.currentTime = ((event.clientX - box.left) / box.width) * length;
  };
  follow();
}
watch("value", draw);
