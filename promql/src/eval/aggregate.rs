//! Aggregations: columns of a group become one, or the largest of them stay.

use std::{collections::BTreeMap, sync::Arc};

use foldhash::HashMap;

use super::{
    ABSENT, Column, Evaluated, Evaluation, Grid, Value,
    gathered::Gathered,
    groups::Groups,
    is_absent, merged,
    rank::{Best, Offered, Ranked},
    sums,
    windows::not_the_mark,
    wrong,
};
use crate::{
    ast::{Aggregate, AggregateOp, Expr},
    labels::Labels,
    print,
};

/// Bytes of values that `quantile` gathers at once; where there are more, some steps are left for
/// another walk over the series. Larger: fewer walks. Smaller: less memory.
const GATHERED_MAX: usize = 40 << 20;
/// What small things take while they are gathered.
const BESIDE_BYTES: usize = 16 << 10;

/// Series of which `topk` keeps the labels before those that nothing is kept of go.
const MEMBERS_MIN: usize = 1_024;

/// The same of `count_values`: the label of the value is one of those that are grouped by, and goes
/// with those that `without` takes away.
fn value_group_of(aggregate: &Aggregate, labels: &Labels, (name, value): (&str, &str)) -> Labels {
    match aggregate.without {
        true => labels.with(name, value).without(&aggregate.grouping),
        false => labels.only(&aggregate.grouping).with(name, value),
    }
}

/// What one group has seen at one step.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    count: f64,
    /// A sum and its compensation, the least, the most, or the sum of squares and the mean.
    value: (f64, f64),
}

impl Evaluation<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Value> {
        let columns = match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk => self.extremes(aggregate, grid)?,
            AggregateOp::Quantile => self.quantiles(aggregate, grid)?,
            AggregateOp::CountValues => self.count_values(aggregate, grid)?,
            _ => self.folded(aggregate, grid)?,
        };
        Ok(Value::Vector(columns))
    }

    fn param<'e>(&self, aggregate: &'e Aggregate) -> Evaluated<&'e Expr> {
        aggregate
            .param
            .as_ref()
            .ok_or_else(|| wrong(format!("{} lacks its parameter", aggregate.op.name())))
    }

    /// Aggregations that need one cell a group and step.
    fn folded(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let mut groups = Groups::default();
        let mut all: Vec<(Vec<Cell>, Vec<sums::Mean>)> = Vec::new();
        self.each_named(&aggregate.expr, grid, true, &mut |named, values| {
            self.guard.spend(grid.count as u64)?;
            let place = groups.place(aggregate, named)?;
            if place.is_new {
                self.hold(grid.count * size_of::<Cell>())?;
                let (cells, means) = match aggregate.op {
                    AggregateOp::Avg => (0, grid.count),
                    _ => (grid.count, 0),
                };
                all.push((
                    vec![Cell::default(); cells],
                    vec![sums::Mean::default(); means],
                ));
            }
            let Some((cells, means)) = all.get_mut(place.at) else {
                return Ok(());
            };
            for (mean, value) in means.iter_mut().zip(values) {
                if !is_absent(*value) {
                    mean.add(*value);
                }
            }
            for (cell, value) in cells.iter_mut().zip(values) {
                if !is_absent(*value) {
                    fold(aggregate.op, cell, *value);
                }
            }
            Ok(())
        })?;
        let all = groups.into_labels().into_iter().zip(all);
        all.map(|(labels, (cells, means))| {
            let values = match aggregate.op {
                AggregateOp::Avg => means.iter().map(mean_of).collect(),
                op => cells.iter().map(|cell| unfold(op, cell)).collect(),
            };
            self.column(labels, values)
        })
        .collect::<Evaluated<Vec<Column>>>()
        .map(in_order)
    }

    /// `quantile`, which needs all values of a group at a step.
    fn quantiles(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let param = self.param(aggregate)?;
        let q = self.scalar(param, grid)?;
        self.note_quantiles(&q, param.span);
        let mut groups = Groups::default();
        let mut all: Vec<Vec<f64>> = Vec::new();
        let (mut from, mut at_once) = (0, grid.count);
        loop {
            let part = Grid {
                start_ms: grid.time(from),
                count: at_once.min(grid.count.saturating_sub(from)),
                ..grid
            };
            let held = self.held.get();
            let (gathered, steps) = self.gather(aggregate, part, &mut groups)?;
            for (at, (gathered, series)) in gathered.into_iter().enumerate() {
                if all.len() == at {
                    self.guard.hold(grid.count * size_of::<f64>())?;
                    all.push(vec![ABSENT; grid.count]);
                }
                let Some(column) = all.get_mut(at) else {
                    continue;
                };
                self.hold(Gathered::beside(series, steps))?;
                self.guard.spend((series * steps * 4) as u64)?;
                gathered.each_step(|step, values| {
                    let q = q.get(from + step).copied().unwrap_or(f64::NAN);
                    let cell = column.get_mut(from + step);
                    if let Some(cell) = cell.filter(|_| !values.is_empty()) {
                        *cell = not_the_mark(sums::quantile(q, values));
                    }
                });
                self.let_go(Gathered::beside(series, steps));
            }
            self.keep(held, 0);
            from += steps;
            if steps == 0 || from >= grid.count {
                break;
            }
            // As many series as there were.
            at_once = steps;
        }
        let labels = groups.into_labels().into_iter();
        let columns = labels.zip(all).map(|(labels, values)| {
            self.guard.let_go(grid.count * size_of::<f64>());
            self.column(labels, values)
        });
        columns.collect::<Evaluated<Vec<Column>>>().map(in_order)
    }

    /// The values of each group at the first steps of a grid, with the number of its series: at all
    /// of them, or as many as there is memory for.
    fn gather(
        &self,
        aggregate: &Aggregate,
        grid: Grid,
        groups: &mut Groups,
    ) -> Evaluated<(Vec<(Gathered, usize)>, usize)> {
        let mut all: Vec<(Gathered, usize)> = Vec::new();
        let (mut steps, mut series) = (grid.count, 0);
        self.each_named(&aggregate.expr, grid, true, &mut |named, values| {
            self.guard.spend(grid.count as u64)?;
            let bytes = |steps: usize| steps * size_of::<f64>();
            loop {
                let is_much = bytes(steps).saturating_mul(series + 1) > GATHERED_MAX;
                // What is left is for the walk itself, and for what comes of the groups.
                let left = Gathered::beside(series + 1, steps)
                    + (all.len() + 3) * bytes(grid.count)
                    + BESIDE_BYTES;
                if steps <= 1 {
                    break self.hold(bytes(steps))?;
                }
                if !is_much && self.hold(bytes(steps) + left).is_ok() {
                    break self.let_go(left);
                }
                let fewer = steps / 2;
                all.iter_mut()
                    .for_each(|(gathered, _)| gathered.keep(fewer));
                self.let_go(bytes(steps - fewer) * series);
                steps = fewer;
            }
            series += 1;
            let at = groups.place(aggregate, named)?.at;
            while all.len() <= at {
                self.hold(size_of::<(Gathered, usize)>())?;
                all.push((Gathered::new(steps), 0));
            }
            if let Some((gathered, series)) = all.get_mut(at) {
                gathered.push(values);
                *series += 1;
            }
            Ok(())
        })?;
        Ok((all, steps))
    }

    fn count_values(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let name = self.text(self.param(aggregate)?, grid)?;
        if name.is_empty() {
            return Err(wrong(format!("invalid label name {name:?}")));
        }
        let mut places: HashMap<Labels, usize> = HashMap::default();
        let mut all: Vec<Column> = Vec::new();
        self.each_named(&aggregate.expr, grid, false, &mut |named, values| {
            let own = named.labels()?;
            for (step, value) in values.iter().enumerate() {
                if is_absent(*value) {
                    continue;
                }
                let value = plain_number(*value);
                let labels = value_group_of(aggregate, &own, (&name, &value));
                self.guard.spend(4)?;
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        places.insert(labels.clone(), all.len());
                        all.push(self.column(labels, vec![ABSENT; grid.count])?);
                        all.len() - 1
                    }
                };
                let cell = all
                    .get_mut(place)
                    .and_then(|column| column.values.get_mut(step));
                if let Some(cell) = cell {
                    *cell = if is_absent(*cell) { 1.0 } else { *cell + 1.0 };
                }
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// `topk` and `bottomk`: at each step those of a group with the largest or least values stay
    /// as they are. NaN is never among them while there is a number.
    fn extremes(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Column>> {
        let is_top = aggregate.op == AggregateOp::Topk;
        let params = self.scalar(self.param(aggregate)?, grid)?;
        for param in &params {
            if param.is_nan() {
                return Err(wrong("Parameter value is NaN"));
            }
            if param.abs() >= 9.3e18 {
                return Err(wrong(format!(
                    "Scalar value {} overflows int64",
                    print::number(*param)
                )));
            }
        }
        let counts: Vec<usize> = params.iter().map(|k| k.max(0.0) as usize).collect();
        let groups = self.ranked(aggregate, grid, &counts)?;
        let mut all = Vec::new();
        for Choice { members, best } in groups {
            // Made when something is kept of it: few of many are.
            let mut kept: BTreeMap<usize, Column> = BTreeMap::new();
            let mut order: Option<Vec<usize>> = None;
            for (step, best) in best.into_iter().enumerate() {
                let ranked = best.into_ranked(is_top);
                for (value, at) in &ranked {
                    let Some(labels) = members.of.get(at) else {
                        continue;
                    };
                    if !kept.contains_key(at) {
                        let values = vec![ABSENT; grid.count];
                        kept.insert(*at, self.column(labels.clone(), values)?);
                    }
                    let column = kept.get_mut(at);
                    if let Some(cell) = column.and_then(|column| column.values.get_mut(step)) {
                        *cell = *value;
                    }
                }
                if grid.count == 1 {
                    order = Some(ranked.iter().map(|(_, at)| *at).collect());
                }
            }
            let order = order.unwrap_or_else(|| kept.keys().copied().collect());
            all.extend(
                order
                    .into_iter()
                    .filter_map(|at| kept.remove(&at))
                    .filter(|column| column.values.iter().any(|value| !is_absent(*value))),
            );
        }
        merged(all)
    }

    /// The best of each group at each step, of which so many stay: one column at a time is looked
    /// at, and no more is held than what may stay.
    fn ranked(
        &self,
        aggregate: &Aggregate,
        grid: Grid,
        counts: &[usize],
    ) -> Evaluated<Vec<Choice>> {
        let is_top = aggregate.op == AggregateOp::Topk;
        let mut groups = Groups::default();
        let mut all: Vec<Choice> = Vec::new();
        self.each_named(&aggregate.expr, grid, false, &mut |named, values| {
            self.guard.spend(4 * grid.count as u64)?;
            let place = groups.place(aggregate, named)?;
            if place.is_new {
                self.hold(grid.count * size_of::<Best>())?;
                all.push(Choice {
                    members: Members::default(),
                    best: vec![Best::default(); grid.count],
                });
            }
            let Some(group) = all.get_mut(place.at) else {
                return Ok(());
            };
            // As many more as there may be, since lists grow by doubling.
            self.hold(2 * grid.count * size_of::<Ranked>())?;
            let at = group.members.count;
            group.members.count += 1;
            let (mut more, mut is_in) = (0, false);
            for ((best, value), count) in group.best.iter_mut().zip(values).zip(counts) {
                if is_absent(*value) {
                    continue;
                }
                let offered = best.offer((*value, at), *count, is_top);
                more += usize::from(offered == Offered::More);
                is_in |= offered != Offered::Refused;
            }
            self.let_go(2 * (grid.count - more) * size_of::<Ranked>());
            if is_in {
                let labels = named.labels()?;
                self.hold(labels.bytes())?;
                self.let_go(group.take_in(at, labels));
            }
            Ok(())
        })?;
        Ok(all)
    }
}

/// What stays of a group: the best at each step, and whose they are.
struct Choice {
    members: Members,
    best: Vec<Best>,
}

/// The labels of those that are among the best at some step, and of some that were.
#[derive(Default)]
struct Members {
    of: BTreeMap<usize, Labels>,
    /// How many came.
    count: usize,
    /// How many were among the best when that was last looked at.
    stayed: usize,
}

impl Choice {
    /// Keeps the labels of one that is among the best; how many bytes of others' have gone.
    fn take_in(&mut self, at: usize, labels: Labels) -> usize {
        let Members { of, stayed, .. } = &mut self.members;
        of.insert(at, labels);
        if of.len() < MEMBERS_MIN.max(2 * *stayed) {
            return 0;
        }
        let mut stay: Vec<usize> = self.best.iter().flat_map(Best::whose).collect();
        stay.sort_unstable();
        let mut freed = 0;
        of.retain(|at, labels| {
            let stays = stay.binary_search(at).is_ok();
            freed += if stays { 0 } else { labels.bytes() };
            stays
        });
        *stayed = of.len();
        freed
    }
}

/// Groups that came in any order.
fn in_order(mut columns: Vec<Column>) -> Vec<Column> {
    columns.sort_by(|one, other| one.labels.cmp(&other.labels));
    columns
}

fn fold(op: AggregateOp, cell: &mut Cell, value: f64) {
    cell.count += 1.0;
    let is_first = cell.count == 1.0;
    match op {
        AggregateOp::Sum if is_first => cell.value = (value, 0.0),
        AggregateOp::Sum => cell.value = sums::add(value, cell.value),
        AggregateOp::Min if is_first || value < cell.value.0 || cell.value.0.is_nan() => {
            cell.value.0 = value;
        }
        AggregateOp::Max if is_first || value > cell.value.0 || cell.value.0.is_nan() => {
            cell.value.0 = value;
        }
        AggregateOp::Stddev | AggregateOp::Stdvar => {
            // Welford: the sum of squares and the mean. What is no finite number leaves none.
            let (squares, mean) = cell.value;
            if is_first {
                let squares = if value.is_finite() { 0.0 } else { f64::NAN };
                cell.value = (squares, value);
            } else {
                let delta = value - mean;
                let mean = mean + delta / cell.count;
                cell.value = (squares + delta * (value - mean), mean);
            }
        }
        _ => {}
    }
}

fn unfold(op: AggregateOp, cell: &Cell) -> f64 {
    if cell.count == 0.0 {
        return ABSENT;
    }
    not_the_mark(match op {
        AggregateOp::Sum => cell.value.0 + cell.value.1,
        AggregateOp::Count => cell.count,
        AggregateOp::Group => 1.0,
        AggregateOp::Stddev => (cell.value.0 / cell.count).sqrt(),
        AggregateOp::Stdvar => cell.value.0 / cell.count,
        _ => cell.value.0,
    })
}

fn mean_of(mean: &sums::Mean) -> f64 {
    match mean.is_empty() {
        true => ABSENT,
        false => not_the_mark(mean.value()),
    }
}

/// A number without an exponent, as `count_values` labels it.
fn plain_number(value: f64) -> Arc<str> {
    if value.is_nan() {
        return Arc::from("NaN");
    }
    if value.is_infinite() {
        return Arc::from(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    Arc::from(value.to_string())
}
