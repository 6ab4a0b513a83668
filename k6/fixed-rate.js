// A fixed rate of GET requests to one address: a warm-up, then the measured window.
// Settings come from the environment only, so that the same file runs in a
// process and in a pod. README.md beside this file explains each of them.
import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';

const TARGET_URL = text('TARGET_URL');
const RATE = number('RATE');
const WARMUP = number('WARMUP', 3);
const MEASURE = number('MEASURE', 10);
const CONNECTIONS = number('CONNECTIONS', 32);
const TIMEOUT = number('TIMEOUT', 5);
// How long the target may take to answer for the first time, in seconds: a
// Service's address works a moment later than the pod behind it is ready.
const READY = number('READY', 0);
const GZIP = /^(1|true|yes)$/i.test(__ENV.GZIP || '');

// k6 runs no scenario for less than a second.
const WARMUP_RUNS = WARMUP > 0 ? Math.max(WARMUP, 1) : 0;

// The warm-up's last requests get this long to come home. Their connections are
// free again when the window opens, so it opens with warm ones and none besides.
const GAP = WARMUP > 0 ? 0.05 : 0;

// What every metric of interest is called when it counts the window alone.
const WINDOW = '{scenario:measure}';
const QUANTILES = { 'p(50)': 0.5, 'p(95)': 0.95, 'p(99)': 0.99, 'p(99.9)': 0.999 };

export const options = {
  scenarios: scenarios(),
  discardResponseBodies: true,
  maxRedirects: 0,
  // Each further tag costs the driver CPU time in every request.
  systemTags: ['scenario', 'status', 'error_code'],
  summaryTrendStats: ['avg', 'max', 'count'].concat(Object.keys(QUANTILES)),
  // A threshold without a condition never fails; it makes k6 keep the figures
  // of one scenario apart.
  thresholds: {
    [`http_reqs${WINDOW}`]: [],
    [`http_req_failed${WINDOW}`]: [],
    [`http_req_duration${WINDOW}`]: [],
    [`dropped_iterations${WINDOW}`]: [],
  },
};

http.setResponseCallback(http.expectedStatuses({ min: 200, max: 299 }));

const phases = { warmup: phase('warmup'), measure: phase('measure') };

// Gives how many requests came to nothing until then; k6 counts them with all others.
export function setup() {
  const until = Date.now() + 1000 * READY;
  let refused = 0;
  while (Date.now() < until && http.get(TARGET_URL, phases.warmup.params).status === 0) {
    refused += 1;
    sleep(0.25);
  }
  return { refused };
}

export function warmup() {
  request(phases.warmup);
}

export function measure() {
  request(phases.measure);
}

export function handleSummary(data) {
  const value = (name, key) => {
    const metric = data.metrics[name];
    return metric && metric.values[key] !== undefined ? metric.values[key] : null;
  };
  const duration = (key) => {
    const milliseconds = value(`http_req_duration${WINDOW}`, key);
    return milliseconds === null ? null : milliseconds / 1000;
  };
  const requests = value(`http_reqs${WINDOW}`, 'count') || 0;
  const summary = JSON.stringify({
    schema_version: 1,
    rate: RATE,
    measure_seconds: MEASURE,
    // Of the window: requests that came to an end, those of them that failed,
    // and those that were never sent for want of a free connection.
    requests,
    // k6 counts what is true of a rate as `passes`: here, that it failed.
    failed: value(`http_req_failed${WINDOW}`, 'passes') || 0,
    dropped: value(`dropped_iterations${WINDOW}`, 'count') || 0,
    requests_per_second: requests / MEASURE,
    duration_seconds: {
      mean: duration('avg'),
      max: duration('max'),
      quantiles: Object.keys(QUANTILES).map((key) => [QUANTILES[key], duration(key)]),
    },
    // Warm-up and window together, and the one that the target answered before them.
    total_requests: (value('http_reqs', 'count') || 0) - data.setup_data.refused,
    total_dropped: value('dropped_iterations', 'count') || 0,
  });
  // Without a path the summary is the only line on standard output.
  return { [__ENV.SUMMARY || 'stdout']: `${summary}\n` };
}

// The first iteration of a scenario tells when its executor began, the first
// failure of a connection tells what happened. Nothing else is printed.
function request(phase) {
  if (!phase.begun) {
    phase.begun = true;
    begin();
  }
  const response = http.get(TARGET_URL, phase.params);
  if ((response.status < 200 || response.status > 299) && !phase.failed) {
    phase.failed = true;
    console.error(`flora-bench failure: ${response.error || `status ${response.status}`}`);
  }
}

function begin() {
  const { iterationInTest, name, startTime } = exec.scenario;
  if (iterationInTest === 0) {
    const opens = name === 'measure' ? startTime : startTime + 1000 * (WARMUP_RUNS + GAP);
    console.log(`flora-bench ${name} began ${startTime}, window ${opens} to ${opens + 1000 * MEASURE}`);
  }
}

function scenarios() {
  // k6 wants a whole number of iterations in a time unit.
  const unit = [1, 10, 100, 1000, 10000].find((seconds) => {
    const scaled = RATE * seconds;
    return Math.round(scaled) >= 1 && Math.abs(Math.round(scaled) - scaled) <= scaled * 1e-6;
  }) || 10000;
  const rate = Math.round(RATE * unit);
  if (Math.abs(rate / unit - RATE) > RATE * 5e-4) {
    throw new Error(`RATE=${RATE} is too low to be expressed; the lowest is about 0.1`);
  }
  const load = {
    executor: 'constant-arrival-rate',
    rate,
    timeUnit: duration(unit),
    preAllocatedVUs: CONNECTIONS,
    maxVUs: CONNECTIONS,
  };
  const all = {
    // Long enough for every answer to arrive or time out: none is cut off uncounted.
    measure: Object.assign({}, load, {
      exec: 'measure',
      startTime: duration(WARMUP_RUNS + GAP),
      duration: duration(MEASURE),
      gracefulStop: duration(TIMEOUT + 1),
    }),
  };
  if (WARMUP > 0) {
    all.warmup = Object.assign({}, load, {
      exec: 'warmup',
      duration: duration(WARMUP_RUNS),
      gracefulStop: duration(GAP),
    });
  }
  return all;
}

// What one connection knows of a scenario.
function phase(name) {
  const headers = { 'Accept-Encoding': GZIP ? 'gzip' : 'identity' };
  // For checking the driver against a server that counts.
  if (__ENV.SCENARIO_HEADER) {
    headers[__ENV.SCENARIO_HEADER] = name;
  }
  return { begun: false, failed: false, params: { headers, timeout: duration(TIMEOUT) } };
}

function duration(seconds) {
  return `${Math.round(seconds * 1000)}ms`;
}

function text(name) {
  if (!__ENV[name]) {
    throw new Error(`${name} is not set`);
  }
  return __ENV[name];
}

function number(name, otherwise) {
  const given = __ENV[name];
  const value = given === undefined && otherwise !== undefined ? otherwise : Number(text(name));
  if (!Number.isFinite(value) || value < 0) {
    throw new Error(`${name}=${given} is not a number of 0 or more`);
  }
  return value;
}
