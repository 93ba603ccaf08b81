"use strict";
// Sorts the tables of the page and draws its forecasts so that they can be zoomed and hovered. Without it the page shows
// the same numbers in figures that stand still. Whatever comes from the data is set as text, never as markup.
(() => {
  const SVG = "http" + "://www.w3.org/2000/svg";
  const FIRST_VIEW = 150, LEAST_VIEW = 6, TICK_WIDTH = 86;
  const DASHES = ["", "7 3", "2 3", "9 3 2 3", "5 5"];
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  const SPANS = [1, 5, 15, 30].concat([1, 5, 15, 30].map((n) => n * MINUTE),
    [1, 3, 6, 12].map((n) => n * HOUR), [1, 2, 7, 14].map((n) => n * DAY));
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

  const make = (name, attributes, parent, text) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  };
  const draw = (name, attributes, parent, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };
  const number = (value, digits) => {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(Math.max(0, digits - 2));
    return value.toLocaleString("en", { maximumSignificantDigits: digits });
  };
  const two = (value) => String(value).padStart(2, "0");
  const clock = (date) => `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  const seconds = (date) => {
    const below = date.getUTCMilliseconds();
    return `${clock(date)}:${two(date.getUTCSeconds())}${below ? `.${String(below).padStart(3, "0")}` : ""}`;
  };
  const day = (date) => `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;

  // Tables: a click on a heading sorts by it, a second one the other way round, a third puts the rows back.
  const worth = (text) => {
    const plain = text.replace(/[,<%\s]/g, "");
    return plain !== "" && Number.isFinite(Number(plain)) ? Number(plain) : null;
  };
  const compare = (one, other) => {
    const [a, b] = [worth(one), worth(other)];
    if (a !== null && b !== null) return a - b;
    if (a !== null || b !== null) return a !== null ? -1 : 1; // numbers stand before words and dashes
    return one.localeCompare(other, "en", { numeric: true });
  };
  const sortable = (table) => {
    const body = table.tBodies[0];
    const before = Array.from(body.rows);
    if (before.length < 2) return;
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", title: "Sort by this column" }, null, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const next = now === null ? "ascending" : now === "ascending" ? "descending" : null;
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        const rows = before.slice();
        if (next !== null) {
          head.setAttribute("aria-sort", next);
          const sign = next === "ascending" ? 1 : -1;
          rows.sort((a, b) => sign * compare(a.cells[column].textContent, b.cells[column].textContent));
        }
        body.append(...rows);
      });
    });
  };

  // Charts: the place of a value is its number in the series, so nights and weekends without values take no room.
  const timesOf = (part) =>
    part.at || Array.from({ length: part.count }, (_, place) => part.begin + place * (part.apart || 0));
  const whole = (part, at) => {
    if (!part.dated) return `step ${at.toLocaleString("en")}`;
    const date = new Date(1000 * at);
    const hour = at % DAY === 0 ? "" : `, ${(at % MINUTE ? seconds : clock)(date)}`;
    return `${day(date)} ${date.getUTCFullYear()}${hour}`;
  };
  const steps = (span, most) => {
    const rough = span / Math.max(most, 1);
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999) || 10 * power;
  };
  // Where the axis of time has its marks: at the first value of every hour, day or month, whichever are far enough apart.
  const marks = (part, times, from, to, most) => {
    const found = (key) => {
      const places = [];
      for (let at = Math.max(from, 1); at <= to; at += 1) if (key(times[at]) !== key(times[at - 1])) places.push(at);
      return places;
    };
    const apart = (0.8 * (to - from)) / most;
    const fits = (places) => places.length <= most && places.every((at, rank) => !rank || at - places[rank - 1] >= apart);
    const label = (places, first, second) => {
      let last = null;
      return places.map((place) => {
        const date = new Date(1000 * times[place]);
        const below = second(date);
        const shown = below === last ? "" : below;
        last = below;
        return { place, lines: [first(date), shown] };
      });
    };
    if (!part.dated) {
      const step = Math.max(1, steps(to - from, most));
      return found((at) => Math.floor(at / step)).map((place) => ({ place, lines: [times[place].toLocaleString("en"), ""] }));
    }
    const closest = Math.min(...times.slice(from + 1, to + 1).map((at, rank) => at - times[from + rank]).filter((step) => step > 0));
    for (const span of SPANS) {
      if (span < closest) continue; // days of the month, and not midnights, where there is one value a month
      const places = found((at) => Math.floor(at / span));
      if (!fits(places)) continue;
      if (span < DAY) return label(places, span < MINUTE ? seconds : clock, day);
      return label(places, day, (date) => String(date.getUTCFullYear()));
    }
    for (const months of [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200]) {
      const places = found((at) => {
        const date = new Date(1000 * at);
        return Math.floor((12 * date.getUTCFullYear() + date.getUTCMonth()) / months);
      });
      if (!fits(places)) continue;
      const year = (date) => String(date.getUTCFullYear());
      return months < 12 ? label(places, (date) => MONTHS[date.getUTCMonth()], year) : label(places, year, () => "");
    }
    const even = Array.from({ length: most - 1 }, (_, place) => Math.round(from + ((place + 0.5) * (to - from)) / (most - 1)));
    return label(Array.from(new Set(even)), day, (date) => String(date.getUTCFullYear()));
  };
  const path = (values, from, to, x, y) => {
    let text = "", pen = "M";
    for (let at = from; at <= to; at += 1) {
      if (values[at] === null) { pen = "M"; continue; }
      text += `${pen}${x(at).toFixed(1)} ${y(values[at]).toFixed(1)}`;
      pen = "L";
    }
    return text;
  };
  const area = (band, from, to, x, y) => {
    let text = "";
    for (let at = from; at <= to; at += 1) {
      if (band.low[at] === null) continue;
      let end = at;
      while (end < to && band.low[end + 1] !== null) end += 1;
      const edge = (values, place) => `${x(place).toFixed(1)} ${y(values[place]).toFixed(1)}`;
      const up = [], down = [];
      for (let place = at; place <= end; place += 1) { up.push(edge(band.high, place)); down.unshift(edge(band.low, place)); }
      text += `M${up.join("L")}L${down.join("L")}Z`;
      at = end;
    }
    return text;
  };

  const chart = (box) => {
    const data = JSON.parse(document.getElementById(box.dataset.numbers).textContent);
    const hidden = new Set(data.models.slice(2)); // two lines can be told apart at a glance; the others come on a click
    let part, times, view, at = null, dragged = null, geometry = null;

    const bar = make("div", { class: "bar" }, box);
    if (data.series.length > 1) {
      const label = make("label", {}, bar, "Series ");
      const select = make("select", {}, label);
      data.series.forEach((each, place) => make("option", { value: place }, select, each.name));
      select.addEventListener("change", () => choose(Number(select.value)));
    }
    const zooms = make("div", { class: "zooms", role: "group", "aria-label": "Zoom" }, bar);
    const button = (text, title, act) =>
      make("button", { type: "button", title, "aria-label": title }, zooms, text).addEventListener("click", act);
    button("◀", "Earlier", () => move(-1));
    button("▶", "Later", () => move(1));
    button("+", "Zoom in", () => zoom(0.5));
    button("−", "Zoom out", () => zoom(2));
    button("all", "Show everything", () => show(0, times.length - 1));
    const frame = make("div", {
      class: "plot", tabindex: 0, role: "group",
      "aria-label": "Chart. Arrow keys go from value to value, plus and minus zoom, 0 shows everything.",
    }, box);
    const legend = make("div", { class: "legend", role: "group", "aria-label": "Lines to show" }, box);
    const reading = make("output", { class: "reading", "aria-live": "polite" }, box);

    const swatch = (parent, name, dash) => {
      const svg = draw("svg", { class: "swatch", width: 26, height: 10, "aria-hidden": "true" }, parent);
      draw("line", { x1: 0, x2: 26, y1: 5, y2: 5, class: name, "stroke-dasharray": dash }, svg);
    };
    const lineOf = (model) => {
      const place = data.models.indexOf(model);
      return { class: `line c${place % 5}`, "stroke-dasharray": DASHES[place % 5] };
    };
    const fillLegend = () => {
      legend.replaceChildren();
      swatch(make("span", { class: "key" }, legend), "line observed", "");
      legend.lastChild.append("observed");
      Object.keys(part.models).forEach((model) => {
        const key = make("button", { type: "button", class: "key", "aria-pressed": String(!hidden.has(model)) }, legend);
        swatch(key, lineOf(model).class, lineOf(model)["stroke-dasharray"]);
        key.append(model);
        key.addEventListener("click", () => {
          if (hidden.has(model)) hidden.delete(model); else hidden.add(model);
          key.setAttribute("aria-pressed", String(!hidden.has(model)));
          render();
        });
      });
      part.bands.forEach((band, place) => {
        const key = make("span", { class: "key" }, legend);
        const svg = draw("svg", { class: "swatch", width: 26, height: 10, "aria-hidden": "true" }, key);
        for (let layer = 0; layer <= place; layer += 1) draw("rect", { width: 26, height: 10, class: "band" }, svg); // as they lie
        key.append(`${band.level} % interval`);
      });
    };

    const shown = () => Object.entries(part.models).filter(([model]) => !hidden.has(model));
    const banded = () => (hidden.has(data.models[0]) ? [] : part.bands);
    const extent = (from, to) => {
      let low = Infinity, high = -Infinity;
      const rows = [part.y, ...shown().map(([, values]) => values), ...banded().flatMap((band) => [band.low, band.high])];
      rows.forEach((values) => {
        for (let place = from; place <= to; place += 1) {
          if (values[place] === null) continue;
          low = Math.min(low, values[place]);
          high = Math.max(high, values[place]);
        }
      });
      if (!Number.isFinite(low)) return [0, 1];
      const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
      return [low - room, high + room];
    };

    const render = () => {
      const width = Math.max(240, frame.clientWidth), height = width < 520 ? 260 : 340;
      const [from, to] = view, [low, high] = extent(from, to);
      const step = steps(high - low, 5), ticks = [];
      for (let tick = Math.ceil(low / step); tick * step <= high; tick += 1) ticks.push(tick * step);
      const texts = ticks.map((tick) => number(tick, 4));
      const left = 12 + 7.2 * Math.max(...texts.map((text) => text.length)), right = 26, top = 10, bottom = 40;
      const x = (place) => left + ((place - from) * (width - left - right)) / Math.max(to - from, 1);
      const y = (value) => height - bottom - ((value - low) * (height - top - bottom)) / (high - low);
      frame.replaceChildren();
      const named = `${part.name}, ${whole(part, times[from])} to ${whole(part, times[to])}: observed values, forecasts`;
      const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": named }, frame);
      ticks.forEach((tick, place) => {
        draw("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }, svg);
        draw("text", { x: left - 6, y: y(tick) + 4, class: "end" }, svg, texts[place]);
      });
      marks(part, times, from, to, Math.max(2, Math.floor((width - left - right) / TICK_WIDTH))).forEach((mark) => {
        draw("line", { x1: x(mark.place), x2: x(mark.place), y1: height - bottom, y2: height - bottom + 5, class: "axis" }, svg);
        mark.lines.forEach((text, row) => {
          if (text) draw("text", { x: x(mark.place), y: height - bottom + 18 + 15 * row, class: "middle" }, svg, text);
        });
      });
      banded().forEach((band) => draw("path", { d: area(band, from, to, x, y), class: "band" }, svg));
      draw("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }, svg);
      draw("path", { d: path(part.y, from, to, x, y), class: "line observed" }, svg);
      shown().reverse().forEach(([model, values]) => draw("path", { d: path(values, from, to, x, y), ...lineOf(model) }, svg));
      const cursor = draw("g", { class: "cursor" }, svg);
      geometry = { x, y, left, right, top, bottom, width, height, cursor };
      point(at);
    };

    const point = (place) => {
      at = place === null || place < view[0] || place > view[1] ? null : place;
      geometry.cursor.replaceChildren();
      reading.replaceChildren();
      if (at === null) {
        make("span", {}, reading, "Point at the chart or use the arrow keys to read values; drag sideways to zoom in.");
        return;
      }
      const { x, y, cursor, top, height, bottom } = geometry;
      draw("line", { x1: x(at), x2: x(at), y1: top, y2: height - bottom, class: "axis" }, cursor);
      make("strong", {}, reading, whole(part, times[at]));
      const tell = (name, value) => make("span", {}, reading, `${name} ${value}`);
      if (part.y[at] !== null) {
        draw("circle", { cx: x(at), cy: y(part.y[at]), r: 4, class: "dot observed" }, cursor);
        tell("observed", number(part.y[at], 5));
      }
      shown().forEach(([model, values]) => {
        if (values[at] === null) return;
        draw("circle", { cx: x(at), cy: y(values[at]), r: 4, class: `dot ${lineOf(model).class}` }, cursor);
        tell(model, number(values[at], 5));
      });
      banded().forEach((band) => {
        if (band.low[at] !== null) tell(`${band.level} %:`, `${number(band.low[at], 5)} to ${number(band.high[at], 5)}`);
      });
    };

    const show = (from, to) => {
      const last = times.length - 1, span = Math.min(last, Math.max(LEAST_VIEW, Math.round(to - from)));
      const begin = Math.round(Math.min(Math.max(0, from), last - span));
      view = [begin, begin + span];
      render();
    };
    const zoom = (factor) => {
      const span = view[1] - view[0], middle = at === null ? (view[0] + view[1]) / 2 : at;
      const share = span ? (middle - view[0]) / span : 0.5;
      show(middle - share * span * factor, middle + (1 - share) * span * factor);
    };
    const move = (sign) => {
      const by = sign * Math.max(1, Math.round((view[1] - view[0]) / 2));
      show(view[0] + by, view[1] + by);
    };
    const choose = (place) => {
      part = data.series[place];
      times = timesOf(part);
      at = null;
      fillLegend();
      const ahead = part.y.length - 1 - part.y.findLastIndex((value) => value !== null);
      show(times.length - (ahead ? Math.max(30, 4 * ahead) : FIRST_VIEW), times.length - 1);
    };

    const under = (event) => {
      const { left, right, width } = geometry, [from, to] = view;
      const share = (event.clientX - frame.getBoundingClientRect().left - left) / (width - left - right);
      return Math.round(from + Math.min(1, Math.max(0, share)) * (to - from));
    };
    frame.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) dragged = under(event);
      point(under(event));
    });
    frame.addEventListener("pointermove", (event) => {
      point(under(event));
      if (dragged === null || at === null) return;
      const { x, top, height, bottom, cursor } = geometry;
      const [a, b] = [x(Math.min(at, dragged)), x(Math.max(at, dragged))];
      draw("rect", { x: a, width: b - a, y: top, height: height - top - bottom, class: "chosen" }, cursor);
    });
    window.addEventListener("pointerup", (event) => {
      if (dragged === null) return;
      const [a, b] = [dragged, under(event)].sort((one, other) => one - other);
      dragged = null;
      if (b - a >= 2) show(a, b); else point(at);
    });
    frame.addEventListener("pointerleave", () => { if (dragged === null) point(null); });
    frame.addEventListener("dblclick", () => show(0, times.length - 1));
    const keys = {
      ArrowLeft: () => step(-1), ArrowRight: () => step(1), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
      0: () => show(0, times.length - 1), Home: () => { show(0, view[1] - view[0]); point(view[0]); },
      End: () => { show(times.length, times.length + view[1] - view[0]); point(view[1]); }, Escape: () => point(null),
    };
    const step = (sign) => {
      const next = Math.min(times.length - 1, Math.max(0, at === null ? view[sign > 0 ? 0 : 1] : at + sign));
      if (next < view[0] || next > view[1]) { at = null; show(view[0] + sign, view[1] + sign); }
      point(next);
    };
    frame.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
    choose(0);
    let wide = frame.clientWidth;
    new ResizeObserver(() => {
      if (frame.clientWidth !== wide && frame.clientWidth > 0) { wide = frame.clientWidth; render(); }
    }).observe(frame);
  };

  document.documentElement.classList.add("scripted");
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll("[data-numbers]").forEach((box) => {
    try {
      chart(box);
      box.parentElement.classList.add("drawn"); // now its figures that stand still are for paper only
    } catch (error) {
      box.remove();
      console.error(error);
    }
  });
})();
