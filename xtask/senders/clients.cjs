// The methods of prometheus-query, called on one server; prints what they return as JSON.
// Arguments: the package's folder, the server's address, a token or nothing, a time in seconds.
const [, , folder, endpoint, token, seconds] = process.argv;
const { PrometheusDriver } = require(folder);

const headers = token ? { Authorization: `Bearer ${token}` } : {};
const end = new Date(Number(seconds) * 1000);
const start = new Date(end.getTime() - 600_000);

// Lists whose order nobody promises, in one order.
const sorted = (list) => list.map((one) => JSON.stringify(one)).sort();

async function asked(preferPost) {
  const prom = new PrometheusDriver({ endpoint, headers, preferPost });
  const failed = async (promise) => {
    try {
      return { succeeded: await promise };
    } catch (error) {
      return { type: error.response?.errorType ?? error.name, text: Boolean(error.message) };
    }
  };
  const targets = await prom.targets();
  return {
    instantQuery: await prom.instantQuery('sum by (code) (hits_total)', end),
    selector: sorted((await prom.instantQuery('load', end)).result),
    scalar: await prom.instantQuery('1 + 1', end),
    rangeQuery: await prom.rangeQuery('sum(rate(hits_total[5m]))', start, end, 60),
    rangeQueryByText: await prom.rangeQuery('avg(load)', start, end, '1m', '10s'),
    series: sorted(await prom.series(['load', 'hits_total'], start, end)),
    labelNames: await prom.labelNames(),
    labelNamesOf: await prom.labelNames('load', start, end),
    labelValues: await prom.labelValues('instance'),
    labelValuesOf: await prom.labelValues('job', 'load', start, end),
    targets: [targets.activeTargets, targets.droppedTargets],
    targetsMetadata: await prom.targetsMetadata('{job="none"}'),
    metadata: await prom.metadata('nobody_has_this'),
    alerts: await prom.alerts(),
    alertmanagers: await prom.alertmanagers(),
    flags: typeof (await prom.statusFlags()),
    runtime: Object.keys(await prom.statusRuntimeInfo()).sort(),
    build: Object.keys(await prom.statusBuildinfo()).sort(),
    tsdb: Object.keys(await prom.statusTSDB()).sort(),
    noExpression: await failed(prom.instantQuery('sum(', end)),
    notComputed: await failed(prom.instantQuery('label_replace(load, "instance", "x", "", "")', end)),
    noSelector: await failed(prom.series([], start, end)),
  };
}

asked(false)
  .then(async (got) => {
    const posted = await asked(true);
    const names = Object.keys(got).filter((name) => JSON.stringify(got[name]) !== JSON.stringify(posted[name]));
    console.log(JSON.stringify({ ...got, differsWhenPosted: names }));
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
