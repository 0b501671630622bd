// Draws the charts of a report with uPlot from the data in the page. Text from a test is only ever set as text, never
// as markup.
"use strict";
(() => {
  const { charts } = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const LEFT = 66, RIGHT = 14, TOP = 18, FONT = "12px system-ui, sans-serif";
  // A threshold that is further above all values than this would flatten all lines: it is drawn at the upper edge.
  const FAR = 6;
  const sync = uPlot.sync("time");
  const drawn = [];

  const element = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const thousands = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 100) return thousands(String(Math.round(value)));
    return String(+value.toFixed(size >= 10 ? 1 : 2));
  };
  const shown = (value, unit) => value == null ? "–"
    : unit === "ms" && value >= 10000 ? +(value / 1000).toFixed(1) + " s"
    : short(value) + (unit === "/s" ? "/s" : " " + unit);
  const clock = (seconds) => {
    const whole = Math.floor(seconds + 1e-9), two = (n) => String(n).padStart(2, "0");
    if (seconds < 120 && seconds - whole > 1e-6) return +seconds.toFixed(2) + " s";
    if (whole < 120) return whole + " s";
    const minutes = Math.floor(whole / 60);
    return minutes < 60 ? minutes + ":" + two(whole % 60)
      : Math.floor(minutes / 60) + ":" + two(minutes % 60) + ":" + two(whole % 60);
  };
  const NINES = [[-Math.log10(0.5), "p50"], [1, "p90"], [-Math.log10(0.05), "p95"], [2, "p99"],
    [3, "p99.9"], [4, "p99.99"], [5, "p99.999"], [6, "p99.9999"]];
  const percentile = (nines) => {
    const share = (1 - Math.pow(10, -nines)) * 100;
    return "p" + +share.toFixed(Math.max(1, Math.ceil(nines)));
  };

  // The horizontal axis of each kind of chart.
  const axes = {
    time: (axis) => ({ range: [0, axis.until], values: (_, splits) => splits.map(clock), read: clock,
      incrs: [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200] }),
    nines: (axis) => ({ range: [0, axis.until], read: percentile,
      splits: () => NINES.map(([at]) => at).filter((at) => at <= axis.until + 1e-9),
      values: (self, splits) => {
        // p95 is left out where there is not enough room.
        const place = (at) => self.valToPos(at, "x");
        const p95 = NINES[2][0], isNarrow = place(2) - place(1) < 130;
        return splits.map((at) => at === p95 && isNarrow ? "" : NINES.find(([known]) => known === at)[1]);
      } }),
    rate: (_) => ({ range: (self, low, high) => [0, (high || 1) * 1.04], values: (_, splits) => splits.map((at) => short(at) + "/s"),
      read: (value) => short(value) + "/s" }),
  };

  const near = (chart, highest) => chart.bounds.filter((bound) => bound.at <= highest * FAR || highest === 0);

  // Thresholds as lines with labels.
  const bounds = (chart, place) => (self) => {
    const { ctx, bbox } = self, ratio = devicePixelRatio;
    const taken = [];
    ctx.save();
    ctx.font = "600 " + 12 * ratio + "px system-ui, sans-serif";
    for (const bound of chart.bounds) {
      const found = place(self, bound);
      const above = found < bbox.top, below = found > bbox.top + bbox.height;
      const y = Math.round(Math.min(Math.max(found, bbox.top), bbox.top + bbox.height));
      ctx.strokeStyle = ctx.fillStyle = colour(bound.ok ? "good" : "bad");
      ctx.lineWidth = 1.5 * ratio;
      ctx.setLineDash([6 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.setLineDash([]);
      if (bound.x != null && chart.axis.kind === "nines" && !above && bound.x <= chart.axis.until) {
        ctx.beginPath();
        ctx.arc(self.valToPos(bound.x, "x", true), y, 4 * ratio, 0, 7);
        ctx.fill();
      }
      const text = (bound.ok ? "✓ " : "✗ ") + bound.label + (above ? " ↑" : below ? " ↓" : "");
      const width = ctx.measureText(text).width + 8 * ratio;
      // Above the line; below it if there is another label or the edge.
      let up = y - 5 * ratio, right = bbox.left + bbox.width - 4 * ratio;
      if (up - 12 * ratio < 0) up = y + 14 * ratio;
      while (taken.some(([x, y]) => Math.abs(y - up) < 15 * ratio && right > x)) right = Math.min(...taken.filter(([, y]) => Math.abs(y - up) < 15 * ratio).map(([x]) => x)) - 6 * ratio;
      if (right - width < bbox.left) { right = bbox.left + bbox.width - 4 * ratio; up = y + 14 * ratio; }
      taken.push([right - width, up]);
      ctx.textAlign = "right";
      ctx.textBaseline = "alphabetic";
      ctx.globalAlpha = 0.85;
      ctx.fillStyle = colour("card");
      ctx.fillRect(right - width, up - 12 * ratio, width, 16 * ratio);
      ctx.globalAlpha = 1;
      ctx.fillStyle = colour(bound.ok ? "good" : "bad");
      ctx.fillText(text, right - 4 * ratio, up);
    }
    ctx.restore();
  };

  // The result of a search, as a vertical line.
  const result = (chart) => (self) => {
    if (chart.at == null) return;
    const { ctx, bbox } = self, ratio = devicePixelRatio, x = Math.round(self.valToPos(chart.at, "x", true));
    ctx.save();
    ctx.strokeStyle = colour("soft");
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = "600 " + 12 * ratio + "px system-ui, sans-serif";
    ctx.fillStyle = colour("soft");
    ctx.textAlign = x > bbox.left + bbox.width / 2 ? "right" : "left";
    ctx.fillText(shown(chart.at, "/s"), x + (ctx.textAlign === "right" ? -6 : 6) * ratio, bbox.top + bbox.height - 8 * ratio);
    ctx.restore();
  };

  const legend = (place, self, chart) => {
    const list = element("div", undefined, "legend");
    const at = element("span", "");
    const parts = chart.series.map((series, index) => {
      const button = element("button"), mark = element("i"), value = element("b", "");
      button.type = "button";
      button.title = series.label;
      mark.style.background = colour(series.colour);
      button.append(mark, element("span", series.label), value);
      button.onclick = () => {
        const show = button.classList.contains("off");
        button.classList.toggle("off", !show);
        self.setSeries(index + 1, { show });
      };
      list.append(button);
      return value;
    });
    list.append(at);
    place.append(list);
    return (index) => {
      at.textContent = index == null ? "" : "at " + axes[chart.axis.kind](chart.axis).read(chart.xs[index]);
      parts.forEach((part, series) => {
        part.textContent = index == null ? "" : shown(chart.series[series].values[index], chart.unit);
      });
    };
  };

  const base = (chart, place) => {
    const x = axes[chart.axis.kind](chart.axis);
    const line = { stroke: colour("soft"), font: FONT, ticks: { show: false } };
    const isTime = chart.axis.kind === "time";
    return {
      width: place.clientWidth, height: innerWidth < 700 ? 220 : 260, padding: [TOP, RIGHT, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false, setScale: false }, ...(isTime ? { sync: { key: "time", setSeries: false } } : {}) },
      scales: { x: { time: false, range: (self, low, high) => self.zoomed ? [low, high] : typeof x.range === "function" ? x.range(self, low, high) : x.range } },
      axes: [
        { ...line, size: 32, gap: 8, grid: { stroke: colour("grid"), width: 1 }, values: x.values, space: 64,
          ...(x.splits ? { splits: x.splits } : {}), ...(x.incrs ? { incrs: x.incrs } : {}) },
        { ...line, size: LEFT, grid: { stroke: colour("grid"), width: 1 } },
      ],
      hooks: {
        // Zooming one chart over time zooms all of them.
        setSelect: [(self) => {
          if (self.select.width < 4) return;
          const from = self.posToVal(self.select.left, "x"), to = self.posToVal(self.select.left + self.select.width, "x");
          const all = isTime ? drawn.filter((one) => one.chart.axis.kind === "time").map((one) => one.self) : [self];
          for (const one of all) { one.zoomed = true; one.setScale("x", { min: from, max: to }); one.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false); }
        }],
      },
    };
  };

  const lines = (chart, place) => {
    const numbers = chart.series.flatMap((series) => series.values).filter((value) => value != null);
    const highest = numbers.reduce((high, value) => Math.max(high, value), 0);
    const top = near(chart, highest).reduce((high, bound) => Math.max(high, bound.at), highest) * 1.1 || 1;
    const options = base(chart, place);
    options.scales.y = { range: [0, chart.unit === "%" ? Math.min(top, 105) : top] };
    options.axes[1].values = (_, splits) => splits.map((at) => shown(at, chart.unit));
    const points = chart.xs.length <= 40 ? { show: true, size: 5 } : undefined;
    options.series = [{}, ...chart.series.map((series) => ({
      label: series.label, stroke: colour(series.colour), width: series.colour === "faint" ? 1 : 1.8, spanGaps: false,
      points: points || { show: (self, index, from, to) => to === from }, paths: chart.axis.kind === "nines" ? uPlot.paths.stepped({ align: -1 }) : undefined,
    }))];
    if (chart.axis.kind === "nines") options.series.forEach((series) => { series.points = { show: false }; });
    options.hooks.draw = [result(chart), bounds(chart, (self, bound) => self.valToPos(bound.at, "y", true))];
    const self = new uPlot(options, [chart.xs, ...chart.series.map((series) => series.values)], place);
    const read = legend(place, self, chart);
    self.hooks.setCursor = [(self) => read(self.cursor.left < 0 ? null : self.cursor.idx)];
    return self;
  };

  const heat = (chart, place) => {
    const { edges_ms: edges, cells, column_s: width } = chart.heat;
    const rows = edges.length - 1, most = cells.reduce((high, [, , count]) => Math.max(high, count), 1);
    const row = (ms) => rows * Math.log(ms / edges[0]) / Math.log(edges[rows] / edges[0]);
    const of = new Map(cells.map(([column, row, count]) => [column * 1000 + row, count]));
    const options = base(chart, place);
    options.scales.y = { range: [0, rows] };
    options.axes[1].splits = (self) => {
      // Round times that do not overlap; if there are too few, the edges of the rows.
      const round = [...Array(10)].flatMap((_, power) => [1, 2, 5].map((step) => step * Math.pow(10, power - 3)));
      const fit = round.filter((ms) => ms >= edges[0] && ms <= edges[rows]).map(row);
      const some = fit.length > 2 ? fit : [...Array(6)].map((_, step) => rows * step / 5);
      const every = Math.ceil(some.length * 26 / self.bbox.height * devicePixelRatio);
      return some.filter((_, place) => place % every === 0);
    };
    options.axes[1].values = (_, splits) => splits.map((at) => shown(edges[0] * Math.pow(edges[rows] / edges[0], at / rows), "ms"));
    options.axes.forEach((axis) => { axis.grid = { show: false }; });
    options.cursor.y = true;
    options.cursor.points = { show: false };
    options.series = [{}, { stroke: "transparent", points: { show: false } }];
    const draw = (self) => {
      const { ctx, bbox } = self, tone = colour("heat");
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      for (const [column, row, count] of cells) {
        const left = Math.round(self.valToPos(column * width, "x", true)), right = Math.round(self.valToPos((column + 1) * width, "x", true));
        const top = Math.round(self.valToPos(row + 1, "y", true)), bottom = Math.round(self.valToPos(row, "y", true));
        ctx.fillStyle = `rgba(${tone}, ${0.12 + 0.88 * Math.log(1 + count) / Math.log(1 + most)})`;
        ctx.fillRect(left, top, Math.max(1, right - left - (right - left > 5 ? 1 : 0)), Math.max(1, bottom - top - (bottom - top > 5 ? 1 : 0)));
      }
      ctx.restore();
    };
    options.hooks.draw = [draw, bounds(chart, (self, bound) => self.valToPos(row(bound.at), "y", true))];
    const self = new uPlot(options, [chart.xs, chart.xs.map(() => null)], place);
    const list = element("div", undefined, "legend"), ramp = element("span", undefined, "ramp"), at = element("span", "");
    ramp.append(element("span", "1"), element("i"), element("span", thousands(String(most)) + " requests"));
    list.append(ramp, at);
    place.append(list);
    self.hooks.setCursor = [(self) => {
      const { left, top } = self.cursor;
      if (left < 0 || top < 0) { at.textContent = ""; return; }
      const column = Math.floor(self.posToVal(left, "x") / width), at_row = Math.floor(self.posToVal(top, "y"));
      const count = of.get(column * 1000 + at_row) || 0;
      at.textContent = `${clock(column * width)}, ${shown(edges[at_row], "ms")} to ${shown(edges[at_row + 1], "ms")}: ${thousands(String(count))} requests`;
    }];
    return self;
  };

  const draw = (chart) => {
    const place = document.getElementById(chart.id);
    place.replaceChildren();
    const isEmpty = chart.heat ? chart.heat.cells.length === 0
      : chart.series.every((series) => series.values.every((value) => value == null));
    if (isEmpty) { place.append(element("p", "No data.", "empty")); return; }
    const self = (chart.heat ? heat : lines)(chart, place);
    // A double click resets the zoom of all charts over time.
    self.over.ondblclick = () => {
      for (const one of chart.axis.kind === "time" ? drawn.filter((one) => one.chart.axis.kind === "time") : [{ self }]) {
        one.self.zoomed = false;
        one.self.setData(one.self.data, true);
      }
    };
    if (chart.axis.kind === "time") sync.sub(self);
    drawn.push({ chart, self });
  };
  const all = () => {
    drawn.splice(0).forEach(({ self }) => { sync.unsub(self); self.destroy(); });
    charts.forEach(draw);
  };
  all();

  // Tables can be sorted by a column: first in descending order.
  const value = (row, column) => {
    const text = row.cells[column].textContent, number = parseFloat(text.replace(/[,<> ]/g, ""));
    return text === "" ? -Infinity : Number.isNaN(number) ? text : number;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = element("button", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.onclick = () => {
        const up = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
        const compare = (a, b) => typeof a === "string" || typeof b === "string" ? String(b).localeCompare(String(a)) * -1 : a - b;
        const rows = [...table.tBodies[0].rows].sort((a, b) => up * compare(value(a, column), value(b, column)));
        table.tBodies[0].append(...rows);
      };
    });
  }
  dark.addEventListener("change", all);
  let width = innerWidth, later;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(later);
    later = setTimeout(all, 100);
  });
})();
