// Sorting, filtering and choosing a figure. Without it the page shows everything.
// What is chosen stands in the address, so that it can be passed on.
(() => {
  'use strict';
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  document.documentElement.classList.add('js');

  let state = new URLSearchParams();
  const read = () => { state = new URLSearchParams(location.hash.slice(1)); };
  const keep = () => {
    const kept = new URLSearchParams();
    for (const key of ['figure', 'scenario', 'text', 'sort']) {
      for (const value of state.getAll(key)) if (value) kept.append(key, value);
    }
    const hash = kept.toString();
    history.replaceState(null, '', hash ? '#' + hash : location.pathname + location.search);
  };
  const set = (key, value) => { state.set(key, value); keep(); show(); };

  // Which figure.
  const figure = one('figure');
  const showFigure = () => {
    if (!figure) return;
    const wanted = all('option', figure).some((o) => o.value === state.get('figure'));
    figure.value = wanted ? state.get('figure') : '';
    for (const claim of all('.claim')) {
      const chosen = figure.value ? claim.dataset.claim === figure.value : 'headline' in claim.dataset;
      claim.classList.toggle('off', !chosen);
    }
  };

  // Which rows.
  const scenario = one('scenario'), text = one('text'), status = one('status');
  const showRows = () => {
    if (!text) return;
    const known = all('option', scenario).some((o) => o.value === state.get('scenario'));
    scenario.value = known ? state.get('scenario') : '';
    if (text.value !== (state.get('text') || '')) text.value = state.get('text') || '';
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const others = (section) => Boolean(scenario.value) && section.dataset.scenario !== scenario.value;
    let shown = 0, count = 0;
    for (const row of all('table[data-filter] tbody tr')) {
      const content = row.textContent.toLowerCase();
      const of = row.closest('[data-scenario]');
      const fits = !(of && others(of)) && words.every((word) => content.includes(word));
      row.classList.toggle('off', !fits);
      count += 1;
      if (fits) shown += 1;
    }
    for (const section of all('section[data-scenario]')) {
      section.classList.toggle('off', others(section));
    }
    status.textContent = shown === count ? '' : `${shown} of ${count} rows`;
  };

  // In which order. Numbers are compared as numbers, whatever unit they are printed in.
  const UNITS = { ns: 1e-9, 'µs': 1e-6, ms: 1e-3, s: 1, KiB: 1024, MiB: 1048576, GiB: 1073741824 };
  const number = (content) => {
    const plain = content.replace(/[\u202f\u2009]/g, '').replace(/−/g, '-').trim();
    const found = plain.match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
    if (!found) return NaN;
    const less = plain.startsWith('<') ? 0.999 : 1;
    return Number(found[0]) * (UNITS[plain.split(/\s+/).pop()] || 1) * less;
  };
  const compare = (a, b, numeric) => numeric ? number(a) - number(b)
    : a.localeCompare(b, undefined, { numeric: true });
  const order = (table, column, direction) => {
    const body = table.tBodies[0], heads = all('thead th', table);
    if (!table.rowsAsWritten) table.rowsAsWritten = [...body.rows];
    heads.forEach((head, n) => {
      if (n === column && direction) head.setAttribute('aria-sort', direction);
      else head.removeAttribute('aria-sort');
    });
    const rows = [...table.rowsAsWritten];
    if (direction && heads[column]) {
      const numeric = heads[column].classList.contains('number');
      const content = (row) => row.cells[column].textContent;
      const missing = (row) => numeric ? Number.isNaN(number(content(row))) : content(row) === '';
      const sign = direction === 'descending' ? -1 : 1;
      // What is missing comes last, in either direction.
      rows.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : sign * compare(content(a), content(b), numeric)));
    }
    table.classList.toggle('sorted', Boolean(direction));
    body.append(...rows);
  };
  const tables = all('table[data-sort]');
  const showOrder = () => {
    const wanted = new Map(state.getAll('sort').map((entry) => entry.split(',')).map(([id, ...rest]) => [id, rest]));
    for (const table of tables) {
      const [column, direction] = wanted.get(table.id) || [];
      const known = ['ascending', 'descending'].includes(direction);
      if (known || table.rowsAsWritten) order(table, Number(column), known ? direction : '');
    }
  };
  for (const table of tables) {
    all('thead th', table).forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const now = head.getAttribute('aria-sort');
        const next = { ascending: 'descending', descending: '' }[now] ?? 'ascending';
        const others = state.getAll('sort').filter((entry) => entry.split(',')[0] !== table.id);
        state.delete('sort');
        for (const entry of others) state.append('sort', entry);
        if (next) state.append('sort', [table.id, column, next].join(','));
        keep();
        showOrder();
      });
    });
  }

  const show = () => { showFigure(); showRows(); showOrder(); };
  figure?.addEventListener('change', () => set('figure', figure.value));
  scenario?.addEventListener('change', () => set('scenario', scenario.value));
  text?.addEventListener('input', () => set('text', text.value));
  one('reset')?.addEventListener('click', () => { state = new URLSearchParams(); keep(); show(); });
  addEventListener('hashchange', () => { read(); show(); });
  read();
  show();
})();
